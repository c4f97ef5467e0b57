"""Stopping at a loss that is no number."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.errors import UserError


class FiniteLoss(Callback):
    """Ends training before the weights take a step by a loss that is not finite, so that the last checkpoint
    stays a good one. Reading the loss waits for a GPU; there it is looked at every `log_every_n_steps` steps."""

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Looks at the loss of a step."""
        if loss.device.type != "cpu" and trainer.global_step % trainer.log_every_n_steps:  # pyright: ignore[reportAttributeAccessIssue]
            return
        if not loss.isfinite():
            rates = ", ".join(f"{group['lr']:.3g}" for group in trainer.optimizers[0].param_groups)
            raise UserError(
                f"the loss is {loss.item()} at step {trainer.global_step} (epoch {trainer.current_epoch}), with "
                f"learning rate {rates}. Checkpoints before it are kept; lower model.optimizer.init_args.lr, set "
                "trainer.gradient_clip_val, or use trainer.precision 32-true"
            )
