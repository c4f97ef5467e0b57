"""`fit` of the command line, as a side that takes turns of an epoch: from the start of one to the start of the
next, with the checkpoint, the scalars and everything else that the trainer does in between."""

from __future__ import annotations

import sys
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from benchmarks.turns import Side, Turns

FOREVER = 1_000_000  # epochs; the side is stopped when enough turns were taken


class EpochTurns(Callback):
    """Waits before each epoch."""

    def __init__(self) -> None:
        self.turns = Turns()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends a turn and waits for the next."""
        self.turns.next()


def fit_side(recipe: Path | str, directory: Path | str, steps: int, *arguments: str) -> Side:
    """`fit` on a recipe without validation, since the other sides do none.

    Args:
        recipe: its configuration file.
        directory: the run directory.
        steps: of an epoch.
        *arguments: more of the command line's.
    """
    return Side(
        [
            *(sys.executable, "-m", "src", "fit", f"--config={recipe}", f"--trainer.default_root_dir={directory}"),
            *(f"--trainer.limit_train_batches={steps}", f"--trainer.max_epochs={FOREVER}", "--data.val_fraction=0"),
            *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=benchmarks.fit_side.EpochTurns"),
            *arguments,
        ]
    )
