"""Exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

# Checkpoint entry with the trained weights; `state_dict` holds the averaged ones.
ENTRY = "current_model_state"


class EMA(WeightAveraging):
    """Validates, tests and saves an exponential moving average of the weights and of batch norm's statistics.

    Lightning's `WeightAveraging` with three differences: the average starts at the initial weights, lies on the
    network's device also in training on a GPU, and does not replace the trained weights when training ends, so that
    resuming with a larger `max_epochs` equals one longer run.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True) -> None:
        """
        Args:
            decay: fraction of the average that each step keeps, in [0, 1).
            warmup: limit the decay to (1 + n) / (10 + n) after n steps, so that the initial weights soon matter little.

        Raises:
            ValueError: if `decay` is out of range.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is outside [0, 1); 0.999 averages over about the last 1,000 steps")
        super().__init__(multi_avg_fn=self._update)
        self.decay = decay
        self.warmup = warmup

    @torch.no_grad()
    def _update(self, averages: list[Tensor], values: list[Tensor], num_averaged: Tensor) -> None:
        if not averages[0].is_floating_point():  # counts, such as batch norm's num_batches_tracked
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
            return
        steps = int(num_averaged) - 1
        decay = min(self.decay, (1 + steps) / (10 + steps)) if self.warmup else self.decay
        get_ema_multi_avg_fn(decay)(averages, values, num_averaged)

    # Lightning creates the average in `setup`, before the network is moved to its device, and would average on the CPU.
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._resumed_from: dict[str, Any] = {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit" and ENTRY in checkpoint:
            self._resumed_from = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().setup(trainer, pl_module, "fit")
        if self._resumed_from:
            super().on_load_checkpoint(trainer, pl_module, self._resumed_from)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._resumed_from:  # the first update copies: make it now, of the initial weights
            self.load_state_dict({"latest_update_step": trainer.global_step - 1})
            super().on_train_batch_end(trainer, pl_module, None, None, 0)
        self._resumed_from = {}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the trained weights in the network."""

    # Lightning swaps in `on_validation_epoch_start`, too late for callbacks that synchronize buffers before validation.
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Done in `on_validation_start`."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_epoch_end(trainer, pl_module)
