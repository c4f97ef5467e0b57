"""The checkpoints of a run: best.ckpt, last.ckpt and previous.ckpt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.callbacks.tensorboard import summary_writer
from src.runtime import lightning_workarounds, ranks, run_directory
from src.runtime.finite_loss import FiniteLoss


class RunCheckpoints(Checkpoint):
    """Saves best.ckpt, the weights with the best validation metric (the first of equals), and last.ckpt, from which
    `--resume` continues; the last.ckpt before it is kept as previous.ckpt, in case last.ckpt is damaged.

    last.ckpt is saved when an epoch, its validation and the logging of its metrics have ended, and every n steps or
    minutes if requested. Without validation there is no best.ckpt.
    """

    def __init__(
        self,
        monitor: str = "val/acc",
        mode: Literal["max", "min"] = "max",
        every_n_steps: int | None = None,
        every_n_minutes: float | None = None,
    ) -> None:
        """
        Args:
            monitor: the validation metric that decides which weights are the best; `val/acc` is `val/map` where an
                image can have several classes.
            mode: whether the largest or the smallest value is the best.
            every_n_steps: also save last.ckpt every n steps, within an epoch.
            every_n_minutes: also save last.ckpt when n minutes have passed since it was saved.

        Raises:
            ValueError: if a number is out of range.
        """
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps {every_n_steps} must be at least 1, or null for once an epoch")
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise ValueError(f"every_n_minutes {every_n_minutes} must be above 0, or null for no such limit")
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self.folder = Path()
        self.best: dict[str, float] = {}
        self.due_after_validation = False  # save last.ckpt when the validation that follows has ended
        self._validated: dict[str, float] = {}
        self._saved_at = math.nan  # by the clock of this process
        self._stop_deferred = False  # to the end of the accumulation window
        self._ended_within_epoch = False
        self._change: Callable[[dict[str, Any]], None] | None = None  # of the checkpoint that is being saved

    @property
    def best_model_path(self) -> str:
        """The path of best.ckpt, empty if there is none."""
        return str(self.folder / run_directory.BEST) if self.best else ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir) / run_directory.CHECKPOINTS
        self.monitor = self.monitor_of(pl_module)

    def monitor_of(self, pl_module: LightningModule) -> str:
        """The metric that is monitored in the training of a module."""
        several = self.monitor == "val/acc" and getattr(pl_module, "multi_label", False)
        return "val/map" if several else self.monitor

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, and restores the validation metrics of a resumed epoch."""
        self._saved_at = time.monotonic()
        self._stop_deferred = self._ended_within_epoch = False
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self._validated.items()})

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the epoch before: only now has Lightning logged its metrics and stepped a schedule that monitors
        them, so that a kill in between loses neither."""
        if trainer.current_epoch > 0:
            self.save_between_epochs(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped = has_stepped(trainer, batch_idx)
        self._defer_stop(trainer, stepped)
        due = stepped and self._due(trainer)
        if due and not precedes_validation_or_epoch_end(trainer, batch_idx):
            self.save_last(trainer)
        elif due and batch_idx + 1 < trainer.num_training_batches:
            self.due_after_validation = True

    def _due(self, trainer: Trainer) -> bool:
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None:
            return False
        # Clocks differ, and all ranks have to save together.
        return bool(ranks.all_reduce_max(trainer, time.monotonic() - self._saved_at >= 60 * self.every_n_minutes))

    def save_last(self, trainer: Trainer) -> None:
        """Saves last.ckpt now."""
        self._save(trainer, run_directory.LAST)
        self._saved_at = time.monotonic()

    def save_between_epochs(self, trainer: Trainer) -> None:
        """Saves last.ckpt at a moment between two epochs, unless training has ended within one."""
        if not self._ended_within_epoch:
            self._save_changed(trainer, lightning_workarounds.date_back_epoch)

    def _save_changed(self, trainer: Trainer, change: Callable[[dict[str, Any]], None]) -> None:
        self._change = change
        try:
            self.save_last(trainer)
        finally:
            self._change = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        self._defer_stop(trainer, has_stepped(trainer, trainer.fit_loop.batch_idx))

    def _defer_stop(self, trainer: Trainer, stepped: bool) -> None:
        """Lets training that something stops by `trainer.should_stop` end with an optimizer step: the gradients that
        are accumulated so far are in no checkpoint."""
        if not stepped and trainer.should_stop:
            trainer.should_stop, self._stop_deferred = False, True
        elif stepped and self._stop_deferred:
            trainer.should_stop, self._stop_deferred = True, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves a run that ends within an epoch, by max_steps, max_time or `trainer.should_stop`, before the metrics of
        the epoch are reset, so that a resumed run continues the epoch."""
        if ends_within_epoch(trainer):
            self._save_changed(trainer, lightning_workarounds.reopen_epoch)
            self._ended_within_epoch = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save_between_epochs(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._change:
            self._change(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "folder": str(self.folder.resolve()), "validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from there; a new run that starts from another run's checkpoint has no best yet."""
        folder_moved = (self.folder / run_directory.BEST).is_file()
        self._validated = state_dict["validated"]
        self.best = state_dict["best"] if folder_moved or state_dict["folder"] == str(self.folder.resolve()) else {}

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
        # The scalars up to here belong to the checkpoint: after a kill they must not end before it.
        if events := summary_writer(trainer):
            events.flush()
        previous = {"previous": self.folder / run_directory.PREVIOUS} if name == run_directory.LAST else None
        trainer.save_checkpoint(self.folder / name, weights_only=False, storage_options=previous)


def run_checkpoints_of(trainer: Trainer) -> list[RunCheckpoints]:
    """Those of a trainer: one, unless a user added more."""
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoints)]


def has_stepped(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the optimizer stepped after this batch, except for the step at the end of the epoch."""
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def ends_within_epoch(trainer: Trainer) -> bool:
    """Whether the epoch that ends has not had all its batches."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return not progress.is_last_batch and progress.current.ready < trainer.num_training_batches


def precedes_validation_or_epoch_end(trainer: Trainer, batch_idx: int) -> bool:
    """Whether validation or the end of the epoch follows this batch. A checkpoint saved before those would have to
    repeat them on resume, which Lightning does not; so it is saved after them."""
    if batch_idx + 1 == trainer.num_training_batches:
        return True
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch  # pyright: ignore[reportAttributeAccessIssue]
    if not every or every == float("inf") or (epochs and (trainer.current_epoch + 1) % epochs):
        return False
    seen = batch_idx if epochs else trainer.fit_loop.total_batch_idx  # without epochs, it counts across them
    return (seen + 1) % every == 0
