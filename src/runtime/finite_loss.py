"""Stopping at a loss that is not finite."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.errors import UserError


class FiniteLoss(Callback):
    """Stops training when the loss of any rank is not finite: on a CPU before the optimizer steps, on a GPU every
    `log_every_n_steps` steps, since reading the loss there waits for the step. In any case before a checkpoint is
    saved, so that the last one stays good."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finite: Tensor | None = None

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        finite = loss.detach().isfinite().to(torch.uint8)
        self._finite = finite if self._finite is None else torch.minimum(self._finite, finite)
        every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        if loss.device.type == "cpu" or trainer.global_step % max(1, every) == 0:
            self.check(trainer)

    def check(self, trainer: Trainer) -> None:
        """Raises UserError if a loss since training started was not finite; called by all ranks together."""
        if self._finite is None:
            return
        if trainer.world_size > 1:
            torch.distributed.all_reduce(self._finite, torch.distributed.ReduceOp.MIN)
        if not self._finite:
            rates = ", ".join(f"{group['lr']:.3g}" for group in trainer.optimizers[0].param_groups)
            raise UserError(
                f"the loss is not finite at step {trainer.global_step} (epoch {trainer.current_epoch}), with learning "
                f"rate {rates}. Checkpoints before it are kept; lower model.optimizer.init_args.lr, set "
                "trainer.gradient_clip_val, or use trainer.precision 32-true"
            )
