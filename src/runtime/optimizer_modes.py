"""Optimizers that have a training and an evaluation mode, as those of schedulefree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from src.errors import UserError

ENTRY = "optimizer_training_weights"  # checkpoint entry; `state_dict` holds the weights of the evaluation mode


class OptimizerModes(Callback):
    """Switches optimizers that have `train()` and `eval()` with the network.

    Such an optimizer trains other weights than it evaluates. Validation, test and the `state_dict` of checkpoints have
    those of evaluation. Those of training are kept aside meanwhile: to compute them from the others rounds them, and a
    run would depend on how often it is validated and saved.
    """

    def __init__(self) -> None:
        self._optimizers: list[Any] = []
        self._resumed_from: dict[str, Tensor] = {}
        self._validation = ExitStack()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._resumed_from = checkpoint.get(ENTRY, {}) if trainer.state.fn == "fit" else {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._optimizers = [optimizer for optimizer in trainer.optimizers if has_modes(optimizer)]
        callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        if self._optimizers and any(isinstance(callback, WeightAveraging) for callback in callbacks):
            raise UserError(
                f"{type(self._optimizers[0]).__name__} averages the weights itself; remove the callback that does, too"
            )
        for optimizer in self._optimizers:
            optimizer.train()
        if self._resumed_from:
            pl_module.load_state_dict(self._resumed_from, strict=False)
            self._resumed_from = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation.enter_context(self._evaluating(pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validation.close()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._optimizers:
            with self._evaluating(pl_module) as trained:
                evaluated = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **evaluated}
            checkpoint[ENTRY] = trained

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for optimizer in self._optimizers:
            optimizer.eval()
        self._optimizers = []

    @contextmanager
    def _evaluating(self, pl_module: LightningModule) -> Iterator[dict[str, Tensor]]:
        """Yields the training weights, while the network has those of evaluation."""
        if not self._optimizers:
            yield {}
            return
        trained = {name: value.detach().clone() for name, value in pl_module.named_parameters()}
        for optimizer in self._optimizers:
            optimizer.eval()
        try:
            yield trained
        finally:
            for optimizer in self._optimizers:
                optimizer.train()
            with torch.no_grad():
                for name, value in pl_module.named_parameters():
                    value.copy_(trained[name])


def has_modes(optimizer: object) -> bool:
    """Whether an optimizer has `train()` and `eval()`; torch's have not."""
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))
