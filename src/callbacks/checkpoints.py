"""The two checkpoints of a run: best.ckpt and last.ckpt."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint

BEST = "best"
LAST = "last"
SUFFIX = ModelCheckpoint.FILE_EXTENSION


class BestCheckpoint(ModelCheckpoint):
    """Keeps best.ckpt, the weights with the best validation accuracy; the first of equals. Without validation
    it keeps none."""

    def __init__(self, dirpath: Path, monitor: str = "val/acc", mode: str = "max") -> None:
        """
        Args:
            dirpath: folder of the checkpoints.
            monitor: the metric that decides.
            mode: `max` or `min`.
        """
        super().__init__(
            dirpath=dirpath,
            filename=BEST,
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )


class LastCheckpoint(ModelCheckpoint):
    """Keeps last.ckpt, from which `--resume` goes on: written when an epoch and its validation have ended, and
    every so many steps if asked for."""

    def __init__(self, dirpath: Path, every_n_steps: int | None = None) -> None:
        """
        Args:
            dirpath: folder of the checkpoints.
            every_n_steps: also in the middle of an epoch, after so many steps.
        """
        super().__init__(
            dirpath=dirpath,
            filename=LAST,
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
