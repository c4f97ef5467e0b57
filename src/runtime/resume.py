"""What a run goes on from, and how what it goes on with differs from what it began with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule

from src.callbacks.ema import ENTRY
from src.errors import UserError
from src.runtime import run_directory
from src.runtime.checkpoint_file import Damaged, check_same_network, read

DAMAGED = ".damaged"  # added to the name of a file that is set aside

# Of a manifest, what may change a result, and how the user knows it.
_COMPARED = {
    "git": "code",
    "python": "python",
    "packages": "package",
    "hardware": "hardware",
    "data": "data",
    "precision": "precision",
    "processes": "processes",
}


def latest(directory: Path, *, rename_damaged: bool) -> tuple[Path, dict[str, Any], list[str]]:
    """The last checkpoint of a run that is whole: last.ckpt, or else the one before it.

    Args:
        directory: the run directory.
        rename_damaged: rename a damaged last.ckpt, lest the next checkpoint put it in the place of the good one.

    Returns:
        The file, its content, and what to tell the user of a damaged one.

    Raises:
        UserError: if there is none, or none is whole.
    """
    folder = directory / run_directory.CHECKPOINTS
    complaints: list[str] = []
    for path in (folder / run_directory.LAST, folder / run_directory.PREVIOUS):
        if not path.is_file():
            continue
        try:
            content = read(path)
        except Damaged as error:
            complaints.append(str(error))
            continue
        except UserError:
            if path.is_file():
                raise
            continue  # the first process has just set it aside
        if rename_damaged and complaints:
            aside = folder / (run_directory.LAST + DAMAGED)
            (folder / run_directory.LAST).rename(aside)
            complaints.append(f"it is set aside as {aside.name}, and the one before it taken")
        return path, content, complaints
    if complaints:
        raise UserError(f"{'; '.join(complaints)}. To keep the best weights alone, begin anew with model.init_from")
    run_directory.find_checkpoint(directory, run_directory.LAST)  # says that there is none
    raise AssertionError


def check(model: LightningModule, saved: Mapping[str, Any], source: str, *, averaged: bool) -> None:
    """Raises UserError with the reason, if training cannot go on from a checkpoint.

    Args:
        model: as configured.
        saved: the content of the checkpoint.
        source: its name, for the message.
        averaged: whether a moving average of the weights is kept.
    """
    check_same_network(model.state_dict(), saved["state_dict"], source)
    if "loops" not in saved:
        raise UserError(f"{source} holds weights alone, so no training to go on with; use model.init_from")
    if ENTRY in saved and not averaged:
        raise UserError(
            f"{source} holds averaged weights besides the trained ones; to go on, keep src.callbacks.ema.EMA among "
            "trainer.callbacks. To begin with the averaged ones, use model.init_from"
        )
    before, now = saved.get("config"), getattr(model, "config", None)
    if before and now:
        was, will_be = (config["model"]["optimizer"]["class_path"] for config in (before, now))
        if was != will_be:
            raise UserError(
                f"the checkpoint holds the state of {was}, which {will_be} cannot go on with; to keep the weights "
                "alone, begin a new run with model.init_from RUN@last"
            )


def load_initial_weights(model: LightningModule, source: str) -> None:
    """Loads the weights of a checkpoint into a model that starts training.

    Raises:
        UserError: if they are of another network.
    """
    saved = read(source)["state_dict"]
    check_same_network(model.state_dict(), saved, f"init_from {source}")
    model.load_state_dict(saved)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of two manifests differs that may change a result, one line each."""
    was, present = (
        {_COMPARED[entry]: manifest[entry] for entry in _COMPARED if entry in before and entry in now}
        for manifest in (before, now)
    )
    return run_directory.diff(was, present)
