"""Stopping between two steps when a signal is received."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from signal import SIG_DFL, Signals
from signal import signal as set_handler
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_info

from src.runtime import early_signals, ranks, slurm
from src.runtime.run_checkpoints import (
    RunCheckpoints,
    has_stepped,
    precedes_validation_or_epoch_end,
    run_checkpoints_of,
)


class StopOnSignal(Callback):
    """On SIGINT (Ctrl-C), SIGTERM or a signal of choice, and before the time limit of a job of SLURM's, finishes the
    step, or a validation in progress, saves last.ckpt, and exits with 128 plus the number of the signal (130, 143,
    138), which tells a scheduler that the run is not complete. A job that SLURM has preempted, or whose limit is near,
    is requeued, and resumes the run by itself. A second Ctrl-C ends the process at once.

    Lightning's own handler of SIGTERM exits with code 0 and, where ranks are apart in time, can leave one in a
    barrier and another in the all-reduce of the gradients. Here the handler only sets a flag, which all ranks
    reduce at the end of each step.
    """

    def __init__(self, signal: str = "SIGUSR1", seconds_before_limit: float = 60) -> None:
        """
        Args:
            signal: by which a batch script asks for a stop, as `#SBATCH --signal=USR1@90` does; NCCL or the site may
                use SIGUSR1 itself.
            seconds_before_limit: when to stop before the time limit of the job, in addition to the longest step or
                validation so far; it has to suffice for saving.

        Raises:
            ValueError: if there is no such signal, or the time is negative.
        """
        if signal not in Signals.__members__:
            raise ValueError(f"signal {signal} does not exist; use a name as SIGUSR1 or SIGUSR2")
        if not seconds_before_limit >= 0:
            raise ValueError(f"seconds_before_limit {seconds_before_limit} must not be negative")
        self.signal = Signals[signal]
        self.seconds_before_limit = seconds_before_limit
        self.received = 0
        self._has_trained = False
        self._received_at = self._checked_at = time.monotonic()
        self._longest = 0.0  # between two checks, in seconds
        self._limit = math.inf  # when to stop, by the clock of this process
        self._first_step = 0
        self._after_validation = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replaces the handlers that are there, and announces the time limit."""
        self._has_trained, self._first_step = True, trainer.global_step
        self._after_validation = 0
        self._install()
        self._longest = 0.0
        self._limit = math.inf
        if trainer.is_global_zero and (end := slurm.time_limit()):
            left = (end - datetime.now()).total_seconds()
            margin = min(self.seconds_before_limit, left / 4)  # else a short job would never train
            self._limit = time.monotonic() + left - margin
            print(
                f"the job ends at {end:%Y-%m-%d %H:%M:%S}; training stops {margin:.0f} s and the longest step or "
                "validation before that",
                flush=True,
            )

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._has_trained:
            self._install()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stops the test after training; a resumed run repeats it."""
        if self._has_trained and (received := self._agreed(trainer)):
            self._stop(trainer, received)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_handlers()

    def _install(self) -> None:
        self._checked_at = time.monotonic()
        if threading.current_thread() is not threading.main_thread():
            rank_zero_info("training outside the main thread: signals do not stop it")
            return
        numbers = (Signals.SIGINT, Signals.SIGTERM, self.signal)
        self._previous = {number: set_handler(number, self._handle) for number in numbers}
        self.received = early_signals.take(numbers)

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
        # One step is finished in any case: without progress, the job would not start again.
        if trainer.global_step > self._first_step and (received := self._agreed(trainer)):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if received := self._agreed(trainer):
            self._stop(trainer, received, RunCheckpoints.save_between_epochs)
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received_at = time.monotonic()
        self.received = number
        if number == Signals.SIGINT:  # SLURM sends SIGTERM twice at the same moment
            set_handler(number, SIG_DFL)

    def _agreed(self, trainer: Trainer) -> int:
        """The signal that a rank has received, or the one of choice where the time limit of the job is near."""
        now = time.monotonic()
        self._longest, self._checked_at = max(self._longest, now - self._checked_at), now
        if not self.received and now > self._limit - self._longest:
            self._received_at, self.received = now, self.signal
        return ranks.all_reduce_max(trainer, self.received)

    def _stop(
        self, trainer: Trainer, received: int, save: Callable[[RunCheckpoints, Trainer], None] | None = None
    ) -> None:
        started = time.monotonic()
        if save:
            for checkpoints in run_checkpoints_of(trainer):
                save(checkpoints, trainer)
        if trainer.is_global_zero:
            progress = trainer.global_step > self._first_step
            next_start = slurm.requeue(received, planned=received == self.signal and progress)
            print(
                f"stopped by {Signals(received).name} at epoch {trainer.current_epoch}, step {trainer.global_step}, "
                f"{started - self._received_at:.1f} s after it (the longest step or validation took "
                f"{self._longest:.1f} s), saved in {time.monotonic() - started:.1f} s; "
                f"{next_start}{'; or ' * bool(next_start)}resume with "
                f"`python -m src fit --resume {trainer.default_root_dir}`",
                file=sys.stderr,
                flush=True,
            )
        ranks.all_reduce_max(trainer, 0)  # a barrier: the exit code of another rank must not end the job before
        early_signals.ignore()  # SLURM sends SIGTERM again
        # Where Lightning started the other ranks, it takes an exit code of theirs other than 0 for a crash, and kills
        # the first rank.
        launched = isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment)
        raise SystemExit(0 if launched and not trainer.is_global_zero else 128 + received)

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            set_handler(number, handler)
        self._previous = {}
