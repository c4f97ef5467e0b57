"""The checkpoint from which a run resumes, whether training can continue from it, and what differs since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule

from src.callbacks.ema import ENTRY
from src.errors import UserError
from src.runtime import run_directory
from src.runtime.checkpoint_file import DamagedCheckpoint, check_same_network, read

DAMAGED = ".damaged"  # appended to the name of a damaged checkpoint

# The entries of a manifest that may change a result, and what the user calls them.
_COMPARED = {
    "git": "code",
    "python": "python",
    "packages": "package",
    "hardware": "hardware",
    "data": "data",
    "precision": "precision",
    "processes": "processes",
}

# The parts of a configuration that a resumed run keeps, since the checkpoint holds their state.
_KEPT = ("optimizer", "lr_scheduler", "lr_interval", "layer_decay")
# Those that choose the images that validate; if they change, these have been trained on.
_SPLIT = ("val_fraction", "split", "split_seed", "folds", "fold")


def latest_checkpoint(directory: Path, *, rename_damaged: bool) -> tuple[Path, dict[str, Any], list[str]]:
    """The last intact checkpoint of a run, last.ckpt or else previous.ckpt: its path, its content, and messages for the
    user about a damaged one. This is renamed if requested, so that the next checkpoint does not replace previous.ckpt
    by it. Raises UserError if there is none, or none is intact."""
    folder = directory / run_directory.CHECKPOINTS
    messages: list[str] = []
    for path in (folder / run_directory.LAST, folder / run_directory.PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read(path)
        except DamagedCheckpoint as error:
            messages.append(str(error))
            continue
        except UserError:
            if path.is_file():
                raise
            continue  # rank 0 has just renamed it
        if rename_damaged and messages:
            renamed = folder / (run_directory.LAST + DAMAGED)
            (folder / run_directory.LAST).rename(renamed)
            messages.append(f"it is renamed to {renamed.name}, and {path.name} is used")
        return path, content, messages
    if messages:
        raise UserError(f"{'; '.join(messages)}. To keep the best weights, start a new run with model.init_from")
    run_directory.find_checkpoint(directory, run_directory.LAST)  # raises
    raise AssertionError


def check_resumable(model: LightningModule, saved: Mapping[str, Any], source: str, *, averaged: bool) -> None:
    """Raises UserError if training cannot continue from a checkpoint.

    A resumed run keeps its optimizer and its learning-rate schedule, with all their arguments: their state is in the
    checkpoint, and for most schedules no value of another one follows from it. It also keeps a moving average of the
    weights, which `averaged` says is configured.
    """
    check_same_network(model.state_dict(), saved["state_dict"], source)
    if "loops" not in saved:
        raise UserError(f"{source} has weights but no training state to resume from; use model.init_from")
    if ENTRY in saved and not averaged:
        raise UserError(
            f"{source} has averaged weights in addition to the trained ones; to resume, keep src.callbacks.EMA in "
            "trainer.callbacks. To start from the averaged ones, use model.init_from"
        )
    check_same_split(model, saved)
    before, now = _configs("model", model, saved)
    if before and now:
        changed = [line for name in _KEPT for line in run_directory.diff(before.get(name), now.get(name), f"{name}.")]
        if changed:
            raise UserError(
                f"a resumed run keeps its optimizer and learning-rate schedule, and {'; '.join(changed[:3])}. Resume "
                "without this change, or start a new run from its weights with model.init_from RUN@last"
            )


def check_same_split(model: LightningModule, saved: Mapping[str, Any]) -> None:
    """Raises UserError if images would validate that the weights of a checkpoint were trained on, as other arguments
    of the split of the same class say. Without validation all of them train."""
    was, is_now = _configs("data", model, saved)
    if not was or not is_now or was["class_path"] != is_now["class_path"]:
        return
    before, now = was.get("init_args", {}), is_now.get("init_args", {})
    if not (now.get("val_fraction") or now.get("folds")):
        return
    known = {name: before[name] for name in _SPLIT if name in before}
    if changed := run_directory.diff(known, {name: now.get(name) for name in known}, "data."):
        raise UserError(
            f"{'; '.join(changed)}, so that images would validate that the network was trained on. Keep the split, set "
            "data.val_fraction 0 for no validation, or start a new run"
        )


def _configs(part: str, model: LightningModule, saved: Mapping[str, Any]) -> list[Any]:
    """A part of the configuration of a checkpoint and of a model, None where there is none."""
    return [(config or {}).get(part) for config in (saved.get("config"), getattr(model, "config", None))]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences between two manifests that may change a result, one line each."""
    was, current = (
        {_COMPARED[entry]: manifest[entry] for entry in _COMPARED if entry in before and entry in now}
        for manifest in (before, now)
    )
    return run_directory.diff(was, current)
