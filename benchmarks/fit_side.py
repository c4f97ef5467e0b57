"""`fit` of the command line as a side whose turns are epochs: from the start of one to the start of the next, with
checkpoint, logging and everything else that the trainer does in between."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from benchmarks.turns import Side, Turns

FOREVER = 1_000_000  # epochs; the measuring program stops the side


class EpochTurns(Callback):
    """Ends a turn at the start of each epoch, and waits for the next."""

    def __init__(self) -> None:
        self.turns = Turns()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:  # the other ranks wait for it in the next step
            self.turns.next()


def fit_side(
    recipe: str, directory: Path, steps: int, *arguments: str, environ: Mapping[str, str] | None = None
) -> Side:
    """`fit` of a recipe with epochs of `steps` steps, without validation, since the other sides have none."""
    return Side(
        [
            *(sys.executable, "-m", "src", "fit", f"--config={recipe}", f"--trainer.default_root_dir={directory}"),
            *(f"--trainer.limit_train_batches={steps}", f"--trainer.max_epochs={FOREVER}", "--data.val_fraction=0"),
            *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=benchmarks.fit_side.EpochTurns"),
            *arguments,
        ],
        environ,
    )
