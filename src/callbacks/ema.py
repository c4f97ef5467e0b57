"""Averaged weights."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

ENTRY = "ema"  # of a checkpoint: the weights that are trained, since `state_dict` holds the averaged ones


class EMA(Callback):
    """Keeps an exponential moving average of the weights and of batch norm's statistics; validation, test, `predict`
    and the checkpoints' `state_dict` take it in place of the weights that are trained.

    Lightning's `EMAWeightAveraging` leaves the averaged weights in the network when training ends, so that a
    prolonged run would go on from others than it had, and copies the whole module, metrics included, to average them.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True) -> None:
        """
        Args:
            decay: share of the average that a step keeps, in [0, 1).
            warmup: keep less of it at the beginning, (1 + n) / (10 + n) after n steps, so that the first weights are
                soon forgotten.
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay {decay} is outside [0, 1); 0.999 remembers about the last 1,000 steps")
        self.decay = decay
        self.warmup = warmup
        self._average: dict[str, Tensor] | None = None
        self._steps = 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Puts the trained weights back into the network, whose place the averaged ones have taken in the file."""
        if trainer.state.fn == "fit" and ENTRY in checkpoint:
            self._average = _copy(checkpoint["state_dict"], pl_module.device)
            self._steps = checkpoint[ENTRY]["steps"]
            pl_module.load_state_dict(checkpoint[ENTRY]["state_dict"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins with the first weights."""
        if trainer.ckpt_path is None or self._average is None:
            self._average, self._steps = _copy(pl_module.state_dict()), 0
        self._latest = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Takes in the weights, when the optimizer has moved them."""
        if trainer.global_step == self._latest:
            return
        self._latest = trainer.global_step
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps)) if self.warmup else self.decay
        self._steps += 1
        assert self._average is not None
        now = pl_module.state_dict()
        fractions = [name for name, value in now.items() if value.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)
        average([self._average[name] for name in fractions], [now[name] for name in fractions], None)
        for name in now.keys() - set(fractions):  # counts
            self._average[name].copy_(now[name])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lends the network the averaged weights."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes them back."""
        if trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves both."""
        if self._average is not None:
            checkpoint[ENTRY] = {"state_dict": checkpoint["state_dict"], "steps": self._steps}
            checkpoint["state_dict"] = self._average

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        if self._average is None:  # validation before training
            return
        for name, value in pl_module.state_dict().items():
            trained = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(trained)


def _copy(state: dict[str, Tensor], device: torch.device | None = None) -> dict[str, Tensor]:
    return {name: value.detach().clone().to(device or value.device) for name, value in state.items()}
