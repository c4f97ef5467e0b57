"""Stopping when asked to, between two steps."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from src.runtime import ranks
from src.runtime.run_checkpoints import RunCheckpoints, followed_by_more, has_stepped, run_checkpoints_of

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal(Callback):
    """On SIGINT (Ctrl-C), SIGTERM or SIGUSR1 finishes the step, or a validation under way, writes last.ckpt and ends
    the process with 128 plus the signal's number (130, 143, 138), which tells a scheduler that the run is not complete.
    A second signal ends it at once.

    Lightning's own answer to SIGTERM ends with code 0 and, where ranks are apart in time, can leave one in a
    barrier and another in the gradients' reduction. Here the handler only sets a flag; at the end of each step all
    ranks look at each other's.
    """

    def __init__(self) -> None:
        self.received = 0
        self._after_validation = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over from Lightning's handlers."""
        self.received = self._after_validation = 0
        self._before = {number: signal.signal(number, self._note) for number in CAUGHT}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops in the middle of an epoch. After its last batch the epoch's own end comes first."""
        received = self._agreed(trainer)
        if not received or not has_stepped(trainer, batch_idx):
            return
        if not followed_by_more(trainer, batch_idx):
            self._stop(trainer, received, RunCheckpoints.save_last)
        elif batch_idx + 1 < trainer.num_training_batches:
            self._after_validation = received
            for checkpoints in run_checkpoints_of(trainer):
                checkpoints.due_after_validation = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stops after a validation within an epoch, when last.ckpt has been written."""
        if self._after_validation:
            self._stop(trainer, self._after_validation)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops between two epochs."""
        if received := self._agreed(trainer):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops before the test, or gives the handlers back."""
        if received := self._agreed(trainer):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the handlers back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, signal.SIG_DFL)  # the second one is meant

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
                f"stopped by {name} at epoch {trainer.current_epoch}, step {trainer.global_step}; go on with it by "
                f"`python -m src fit --resume {trainer.default_root_dir}`",
                file=sys.stderr,
                flush=True,
            )
        # Where Lightning started the others, it takes any code but 0 of theirs for a crash, and kills the first.
        started = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
        raise SystemExit(0 if started and not trainer.is_global_zero else 128 + received)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
