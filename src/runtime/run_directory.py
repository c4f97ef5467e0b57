"""What a run directory is: `logs/<recipe>/<run>/`.

config.yaml      the configuration as resolved
manifest.json    what it ran on: commit, packages, hardware, data
checkpoints/     best.ckpt, last.ckpt and previous.ckpt, the one before that
results.json     the metrics at the end
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

# Handed to the processes that Lightning starts for the other ranks, so that all mean the same directory.
_ENVIRONMENT = "RUN_DIRECTORY"


def new(recipe: str, logs: Path = LOGS, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of a new run. Processes of one job agree on it: by the job's number under SLURM and
    torchrun, by an inherited variable where Lightning starts them."""
    if directory := inherited(environ):
        return directory
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID"):
        number = environ.get(variable)
        if number and number != "none":
            return logs / recipe / f"job-{number}"
    return logs / recipe / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def inherited(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The directory of the process that started this one as another rank of its run."""
    directory = environ.get(_ENVIRONMENT) if "LOCAL_RANK" in environ else None
    return Path(directory) if directory else None


def export_to_children(directory: Path) -> None:
    """Lets the processes that this one starts take part in the same run."""
    os.environ[_ENVIRONMENT] = str(directory.resolve())


def is_rank_zero(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this is rank 0, before Lightning has told."""
    return all(environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def find(reference: str | Path, logs: Path = LOGS) -> Path:
    """The directory of a run, named by its path, by `recipe/run`, or by `recipe` for the latest of its runs.

    Raises:
        UserError: if there is none; the runs that there are, are named.
    """
    for place in (Path(reference), logs / reference):
        if (place / CONFIG).is_file():
            return place
        inside = sorted(path.parent for path in place.glob(f"*/{CONFIG}"))
        if inside:
            return max(inside, key=lambda path: path.stat().st_mtime)
    known = sorted((path.parent for path in logs.glob(f"*/*/{CONFIG}")), key=lambda path: path.stat().st_mtime)
    latest = ", ".join(str(path) for path in known[-3:]) or f"none in {logs}"
    raise UserError(f"{reference} is no run directory: there is no {CONFIG} in it. Latest runs: {latest}")


def find_checkpoint(directory: Path, *names: str) -> Path:
    """The first of the named checkpoints that the run has.

    Raises:
        UserError: if it has none of them.
    """
    for name in names:
        if (path := directory / CHECKPOINTS / name).is_file():
            return path
    raise UserError(f"the run {directory} has no {' and no '.join(names)} in {CHECKPOINTS}: it ended before the first")


def find_weights(reference: str | Path, logs: Path = LOGS) -> Path:
    """A checkpoint file as it is, or that of a run: `RUN` is its best (without validation its last) checkpoint,
    `RUN@last` its last."""
    if Path(reference).is_file():
        return Path(reference)
    name, _, which = str(reference).partition("@")
    if which not in ("", "best", "last"):
        raise UserError(f"{reference} ends in @{which}; use RUN, RUN@best or RUN@last")
    return find_checkpoint(find(name, logs), *([] if which == "last" else [BEST]), LAST, PREVIOUS)


def write_text(path: Path, text: str) -> None:
    """Replaces a file as a whole; its folder need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text)
    beside.replace(path)


def diff(saved: Any, present: Any, prefix: str = "") -> list[str]:
    """What differs between two configurations, one line a key."""
    if isinstance(saved, dict) and isinstance(present, dict):
        keys = dict.fromkeys([*saved, *present])
        return [line for key in keys for line in diff(saved.get(key), present.get(key), f"{prefix}{key}.")]
    return [] if saved == present else [f"{prefix[:-1]} was {saved}, is {present}"]
