"""Learning-rate schedules over the complete training."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupDecay(LRScheduler):
    """Linear warmup from a fraction of the optimizer's learning rate to all of it, then decay to a fraction of it.

    The classifier calls `set_total_steps` with the length of the training, so no length is configured. To train for
    more epochs than planned, choose another schedule.

    Args:
        optimizer: the optimizer; the classifier passes it.
        warmup: fraction of the training for the warmup, in [0, 1).
        shape: of the decay, `linear` or `cosine`.
        start: learning rate at the start of the warmup, as a fraction of the optimizer's.
        end: learning rate at the end of the decay, as a fraction of the optimizer's.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: float = 0.0,
        shape: Literal["linear", "cosine"] = "cosine",
        start: float = 0.0,
        end: float = 0.0,
    ) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup {warmup} is outside [0, 1); it is a fraction of the training")
        if min(start, end) < 0:
            raise ValueError(f"start {start} and end {end} must not be negative")
        self.warmup, self.shape, self.start, self.end = warmup, shape, start, end
        self.total_steps = 1
        super().__init__(optimizer)

    def set_total_steps(self, total_steps: int) -> None:
        """Sets the number of times that `step` will be called, and updates the learning rate accordingly."""
        self.total_steps = max(1, total_steps)
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def get_lr(self) -> list[float | Tensor]:
        progress = self.last_epoch / self.total_steps
        if progress < self.warmup:
            factor = self.start + (1 - self.start) * progress / self.warmup
        else:
            decayed = min(1.0, (progress - self.warmup) / (1 - self.warmup))
            decayed = {"linear": decayed, "cosine": (1 - math.cos(math.pi * decayed)) / 2}[self.shape]
            factor = 1 + (self.end - 1) * decayed
        return [base * factor for base in self.base_lrs]
