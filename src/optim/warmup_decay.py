"""Learning-rate schedules that are told how long training lasts, instead of being configured with it."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupDecay(LRScheduler):
    """The learning rate rises in a straight line to the optimizer's own, then falls to a share of it.

    Stepped once a training step or once an epoch, whichever `model.lr_interval` says; its length is the
    whole training, which the classifier sets. For training that may be prolonged, choose another schedule.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup: float = 0.0,
        shape: Literal["linear", "cosine"] = "cosine",
        start: float = 0.0,
        end: float = 0.0,
    ) -> None:
        """
        Args:
            optimizer: the optimizer, given by the classifier.
            warmup: share of the training during which the rate rises, in [0, 1).
            shape: how it falls after that.
            start: first rate of the rise, as a share of the optimizer's.
            end: last rate of the fall, as a share of the optimizer's.
        """
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup {warmup} is outside [0, 1); it is a share of the training")
        if min(start, end) < 0:
            raise ValueError(f"start {start} and end {end} must not be negative")
        if shape not in ("linear", "cosine"):
            raise ValueError(f"shape {shape!r} is unknown; use linear or cosine")
        self.warmup, self.shape, self.start, self.end = warmup, shape, start, end
        self.length = 1
        super().__init__(optimizer)

    def set_total_steps(self, length: int) -> None:
        """Sets how many times `step` will be called, and the first learning rate with it."""
        self.length = max(1, length)
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def factor(self, progress: float) -> float:
        """The share of the optimizer's rate, at a share of the training."""
        if progress < self.warmup:
            return self.start + (1 - self.start) * progress / self.warmup
        fallen = min(1.0, (progress - self.warmup) / (1 - self.warmup))
        if self.shape == "cosine":
            fallen = (1 - math.cos(math.pi * fallen)) / 2
        return 1 + (self.end - 1) * fallen

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each parameter group."""
        factor = self.factor(self.last_epoch / self.length)
        return [base * factor for base in self.base_lrs]
