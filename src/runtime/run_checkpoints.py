"""The checkpoints of a run: best.ckpt, last.ckpt and the one before it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.callbacks.tensorboard import writer
from src.runtime import ranks, run_directory
from src.runtime.finite_loss import FiniteLoss


class RunCheckpoints(Checkpoint):
    """Keeps best.ckpt, the weights with the best validation accuracy (the first of equals), and last.ckpt, from
    which `--resume` goes on, with the one before it as previous.ckpt, should last.ckpt be damaged.

    last.ckpt is written when an epoch, its validation and the drawing of its metrics have ended, and every so many
    steps or minutes if asked for. Without validation there is no best.ckpt.
    """

    def __init__(
        self,
        directory: Path,
        monitor: str = "val/acc",
        mode: Literal["max", "min"] = "max",
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
    ) -> None:
        """
        Args:
            directory: the run directory.
            monitor: the validation metric that decides which weights are the best.
            mode: whether the largest or the smallest is.
            every_n_steps: write last.ckpt also in the middle of an epoch, after so many steps.
            every_n_minutes: the same, when so many minutes have passed since it was written.
        """
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"checkpoint_every_n_steps {every_n_steps} must be at least 1, or null for once an epoch")
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise ValueError(f"checkpoint_every_n_minutes {every_n_minutes} must be above 0, or null for no such limit")
        self.folder = directory / run_directory.CHECKPOINTS
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.best: dict[str, float] = {}
        self.due_after_validation = False  # write last.ckpt when the validation that comes now has ended
        self._validated: dict[str, float] = {}
        self._written_at = math.nan  # by the clock of this process
        self._between_epochs = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, and lets a resumed epoch know what was validated in it before."""
        self._written_at = time.monotonic()
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self._validated.items()})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes last.ckpt after the epoch before this: only now has Lightning drawn that one's metrics and moved a
        schedule on that waits for them, so that a kill in between loses neither."""
        if trainer.current_epoch > 0:
            self.save_between_epochs(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes last.ckpt every so many steps or minutes."""
        due = has_stepped(trainer, batch_idx) and self._due(trainer)
        if due and not followed_by_more(trainer, batch_idx):
            self.save_last(trainer)
        elif due and batch_idx + 1 < trainer.num_training_batches:
            self.due_after_validation = True

    def _due(self, trainer: Trainer) -> bool:
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        # Clocks differ, and all ranks have to save together.
        return bool(ranks.all_reduce_max(trainer, time.monotonic() - self._written_at >= 60 * self.every_n_minutes))

    def save_last(self, trainer: Trainer) -> None:
        """Writes last.ckpt now."""
        self._save(trainer, run_directory.LAST)
        self._written_at = time.monotonic()

    def save_between_epochs(self, trainer: Trainer) -> None:
        """Writes last.ckpt where no epoch is under way."""
        self._between_epochs = True
        try:
            self.save_last(trainer)
        finally:
            self._between_epochs = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes best.ckpt if it is the best so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        self._validated = {name: float(value) for name, value in metrics.items() if name.startswith("val/")}
        value = metrics.get(self.monitor)
        if value is not None and self._improves(float(value)):
            self.best = {"epoch": trainer.current_epoch, "step": trainer.global_step, **self._validated}
            self._save(trainer, run_directory.BEST)
        if self.due_after_validation:
            self.due_after_validation = False
            self.save_last(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes last.ckpt."""
        self.save_between_epochs(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Dates a checkpoint between two epochs back to the end of the first: Lightning 2.6 takes one that was saved
        at the start of an epoch for the end of that epoch, and skips it (tests/test_stock.py)."""
        if not self._between_epochs:
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts["ready"] = counts["started"]
            counts["completed"] = counts["processed"] - 1

    def state_dict(self) -> dict[str, Any]:
        """The best so far, where it lies, and the latest validation."""
        return {"best": self.best, "folder": str(self.folder.resolve()), "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from there; a run that begins with another's checkpoint has no best yet."""
        moved_along = (self.folder / run_directory.BEST).is_file()
        self._validated = state_dict["validated"]
        self.best = state_dict["best"] if moved_along or state_dict["folder"] == str(self.folder.resolve()) else {}

    def _improves(self, value: float) -> bool:
        if self.monitor not in self.best or math.isnan(self.best[self.monitor]):
            return True
        return value > self.best[self.monitor] if self.mode == "max" else value < self.best[self.monitor]

    def _save(self, trainer: Trainer, name: str) -> None:
        if trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            return
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, FiniteLoss):
                callback.check(trainer)
        # The curves up to here belong to what is saved: after a kill they must not end before it.
        if curves := writer(trainer):
            curves.flush()
        before = {"previous": self.folder / run_directory.PREVIOUS} if name == run_directory.LAST else None
        trainer.save_checkpoint(self.folder / name, weights_only=False, storage_options=before)


def run_checkpoints_of(trainer: Trainer) -> list[RunCheckpoints]:
    """Those that a trainer has: one, unless a user gave more."""
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoints)]


def has_stepped(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the optimizer made a step after this batch, other than the one that the end of an epoch brings about."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def followed_by_more(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation or the end of the epoch comes right after this batch. What is written before those would
    have to repeat them on a resume, which Lightning does not; so it is written after them."""
    if batch_idx + 1 == trainer.num_training_batches:
        return True
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch  # pyright: ignore[reportAttributeAccessIssue]
    if not every or every == float("inf") or (epochs and (trainer.current_epoch + 1) % epochs):
        return False
    seen = batch_idx if epochs else trainer.fit_loop.total_batch_idx  # without epochs, it counts through them
    return (seen + 1) % every == 0
