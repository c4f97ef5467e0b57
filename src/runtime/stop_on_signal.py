"""Stopping between two steps when a signal is received."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_info

from src.runtime import ranks
from src.runtime.run_checkpoints import (
    RunCheckpoints,
    has_stepped,
    precedes_validation_or_epoch_end,
    run_checkpoints_of,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal(Callback):
    """On SIGINT (Ctrl-C), SIGTERM or SIGUSR1 finishes the step, or a validation in progress, saves last.ckpt and exits
    with 128 plus the number of the signal (130, 143, 138), which tells a scheduler that the run is not complete.
    A second signal ends the process at once.

    Lightning's own handler of SIGTERM exits with code 0 and, where ranks are apart in time, can leave one in a
    barrier and another in the all-reduce of the gradients. Here the handler only sets a flag, which all ranks
    reduce at the end of each step.
    """

    def __init__(self) -> None:
        self.received = 0
        self._after_validation = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replaces Lightning's handlers."""
        self.received = self._after_validation = 0
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        else:
            rank_zero_info("training outside the main thread: signals do not stop it")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        received = self._agreed(trainer)
        if not received or not has_stepped(trainer, batch_idx):
            return
        if not precedes_validation_or_epoch_end(trainer, batch_idx):
            self._stop(trainer, received, RunCheckpoints.save_last)
        elif batch_idx + 1 < trainer.num_training_batches:
            self._after_validation = received
            for checkpoints in run_checkpoints_of(trainer):
                checkpoints.due_after_validation = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stops after a validation within an epoch, which has saved last.ckpt."""
        if self._after_validation:
            self._stop(trainer, self._after_validation)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if received := self._agreed(trainer):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if received := self._agreed(trainer):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, signal.SIG_DFL)

    def _agreed(self, trainer: Trainer) -> int:
        return ranks.all_reduce_max(trainer, self.received)

    def _stop(
        self, trainer: Trainer, received: int, save: Callable[[RunCheckpoints, Trainer], None] | None = None
    ) -> None:
        if save:
            for checkpoints in run_checkpoints_of(trainer):
                save(checkpoints, trainer)
        if trainer.is_global_zero:
            name = signal.Signals(received).name
            print(
                f"stopped by {name} at epoch {trainer.current_epoch}, step {trainer.global_step}; resume with "
                f"`python -m src fit --resume {trainer.default_root_dir}`",
                file=sys.stderr,
                flush=True,
            )
        # Where Lightning started the other ranks, it takes an exit code of theirs other than 0 for a crash, and kills
        # the first rank.
        launched = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
        raise SystemExit(0 if launched and not trainer.is_global_zero else 128 + received)

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
