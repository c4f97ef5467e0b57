"""Exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.distributed.tensor import DTensor
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
        super().__init__()
        self.decay = decay
        self.warmup = warmup

    # Lightning creates the average in `setup`, before the network is moved to its device, and would average on the CPU.
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._resumed_from: dict[str, Any] = {}
        self._shard = getattr(trainer.strategy, "shard", None)  # of FSDP; a sharded network cannot be copied
        if self._shard and stage == "fit":
            super().setup(trainer, pl_module, stage)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit" and ENTRY in checkpoint:
            self._resumed_from = checkpoint

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._shard:
            assert self._average_model
            self._shard(self._average_model.module)
        else:
            super().setup(trainer, pl_module, "fit")
        if self._resumed_from:
            super().on_load_checkpoint(trainer, pl_module, self._resumed_from)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # `state_dict`, from which a checkpoint takes the average, returns the tensors themselves.
        saved: dict[str, Any] = {"state_dict": {}}
        super().on_save_checkpoint(trainer, pl_module, saved)
        averages, self._num_averaged = saved["state_dict"], saved["averaging_state"]["n_averaged"]
        named = (*pl_module.named_parameters(), *pl_module.named_buffers())
        pairs = [(_local(averages[name]), _local(value.detach())) for name, value in named if name in averages]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]  # as batch norm's counts
        if not self._resumed_from:
            _copy(pairs)
            self._num_averaged.fill_(1)
        self._resumed_from = {}
        self._steps, self._global_step = int(self._num_averaged) - 1, trainer.global_step

    # Lightning's reads the number of updates from the device in each step, which waits for the step to end.
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._global_step:  # the gradients of several batches are accumulated
            return
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps)) if self.warmup else self.decay
        averages, values = zip(*self._averaged, strict=True)
        get_ema_multi_avg_fn(decay)(averages, values, self._num_averaged)
        _copy(self._copied)
        self._num_averaged += 1
        self._steps, self._global_step = self._steps + 1, trainer.global_step

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


def _local(value: Tensor) -> Tensor:
    """The shard of this process."""
    return value.to_local() if isinstance(value, DTensor) else value


@torch.no_grad()
def _copy(pairs: list[tuple[Tensor, Tensor]]) -> None:
    for average, value in pairs:
        average.copy_(value)
