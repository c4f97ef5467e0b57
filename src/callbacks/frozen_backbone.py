"""Training of the head alone at first."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim import Optimizer

from src.models.layers import layers


class FrozenBackbone(Callback):
    """Trains only the last layer of the network in the first epochs, so that the gradients of its random initial
    weights do not change pretrained ones. All other layers are in evaluation mode until then, also their batch norm.

    It depends on the epoch alone, so that a resumed run is bit-identical, and the optimizer has all parameters from the
    start: those without gradients it does not change. One process computes no gradients of frozen layers; of several,
    DDP waits for them, so they are computed and dropped.
    """

    def __init__(self, epochs: int = 1) -> None:
        """
        Args:
            epochs: number of epochs in which the backbone is frozen.

        Raises:
            ValueError: if it is below 1.
        """
        if epochs < 1:
            raise ValueError(f"epochs {epochs} must be at least 1; for none, leave FrozenBackbone out")
        self.epochs = epochs
        self._parameters: list[nn.Parameter] = []  # that are frozen now
        self._modules: list[nn.Module] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Also where a run is resumed within an epoch."""
        self._parameters, self._modules = [], []
        if trainer.current_epoch < self.epochs:
            net: nn.Module = pl_module.net  # pyright: ignore[reportAssignmentType]
            *backbone, head = layers(net).values()
            self._parameters = [own for layer in backbone for own in layer if own.requires_grad]
            in_head = set(head)
            self._modules = [
                module for module in net.modules() if module.training and in_head.isdisjoint(module.parameters())
            ]
        self._set(trainer, frozen=True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch >= self.epochs:
            self._set(trainer, frozen=False)
            self._parameters, self._modules = [], []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set(trainer, frozen=False)

    def _set(self, trainer: Trainer, frozen: bool) -> None:
        for module in self._modules:
            module.training = not frozen
        if trainer.world_size == 1:
            for parameter in self._parameters:
                parameter.requires_grad_(not frozen)
