"""The directory of a run: `logs/<recipe>/<run>/`.

config.yaml      the resolved configuration
manifest.json    what the run ran on: commit, packages, hardware, data
checkpoints/     best.ckpt, last.ckpt, and previous.ckpt, the last.ckpt before it
results.json     the metrics of training and test
events.out.*     TensorBoard
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from src.errors import UserError

LOGS = Path("logs")
CONFIG = "config.yaml"
MANIFEST = "manifest.json"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"

# Inherited by the processes that Lightning starts for the other ranks, so that all use the same directory.
_ENVIRONMENT = "RUN_DIRECTORY"


def new(recipe: str, logs: Path = LOGS, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of a new run. The processes of one job agree on it: by the job id under SLURM and torchrun, by an
    inherited variable where Lightning starts them."""
    if directory := inherited(environ):
        return directory
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        job_id = environ.get(variable)
        if job_id and job_id != "none":
            return logs / recipe / f"job-{job_id}"
    return logs / recipe / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def inherited(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The directory of the process that started this one as another rank of its run."""
    directory = environ.get(_ENVIRONMENT) if "LOCAL_RANK" in environ else None
    return Path(directory) if directory else None


def export_to_children(directory: Path) -> None:
    """Sets the variable that the processes started by this one inherit."""
    os.environ[_ENVIRONMENT] = str(directory.resolve())


def is_rank_zero(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0, before Lightning has set up the process group."""
    return all(environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def find(reference: str | Path, logs: Path = LOGS) -> Path:
    """The directory of an existing run.

    Args:
        reference: its path, `recipe/run`, or `recipe` for the latest run of a recipe.
        logs: the folder of all runs.

    Raises:
        UserError: if there is none; the message names the latest runs.
    """
    for place in (Path(reference), logs / reference):
        if (place / CONFIG).is_file():
            return place
        if inside := [path.parent for path in place.glob(f"*/{CONFIG}")]:
            return max(inside, key=_modified)
    known = sorted((path.parent for path in logs.glob(f"*/*/{CONFIG}")), key=_modified)
    latest = ", ".join(str(path) for path in known[-3:]) or f"none in {logs}"
    raise UserError(f"{reference} is not a run directory: {CONFIG} not found in it. Latest runs: {latest}")


def _modified(directory: Path) -> tuple[float, Path]:
    return directory.stat().st_mtime, directory


def find_checkpoint(directory: Path, *names: str) -> Path:
    """The first of the named checkpoints that exists.

    Raises:
        UserError: if none of them exists.
    """
    for name in names:
        if (path := directory / CHECKPOINTS / name).is_file():
            return path
    raise UserError(
        f"{' and '.join(names)} not found in {directory / CHECKPOINTS}: the run ended before its first checkpoint"
    )


def find_best_or_last(directory: Path, which: str) -> Path:
    """The `best` or the `last` checkpoint of a run; the last one, or the one before it, where there is no best."""
    return find_checkpoint(directory, *([BEST] if which == "best" else []), LAST, PREVIOUS)


def find_weights(reference: str | Path, logs: Path = LOGS) -> Path:
    """A checkpoint file as it is, or that of a run: `RUN` is its best (without validation its last) checkpoint,
    `RUN@last` its last."""
    if Path(reference).is_file():
        return Path(reference)
    name, _, which = str(reference).partition("@")
    if which not in ("", "best", "last"):
        raise UserError(f"{reference} ends in @{which}; use RUN, RUN@best or RUN@last")
    return find_best_or_last(find(name, logs), which or "best")


def write_text(path: Path, text: str) -> None:
    """Replaces a file atomically; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def diff(saved: Any, current: Any, prefix: str = "") -> list[str]:
    """The differences between two nested configurations, one line per key."""
    if isinstance(saved, dict) and isinstance(current, dict):
        keys = dict.fromkeys([*saved, *current])
        return [line for key in keys for line in diff(saved.get(key), current.get(key), f"{prefix}{key}.")]
    return [] if saved == current else [f"{prefix[:-1]} was {saved}, is {current}"]
