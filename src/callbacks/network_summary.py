"""The layers of the network, printed before training."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelSummary
from torch import nn

from src.callbacks.display_only import display_only
from src.data import ImageDataModule


class NetworkSummary(ModelSummary):
    """Lightning's ModelSummary of the network alone, with input and output sizes."""

    def __init__(self, max_depth: int = 2) -> None:
        """
        Args:
            max_depth: of nested modules; 1 is one row for the network, 2 one for each of its layers.
        """
        super().__init__(max_depth=max_depth)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(data, ImageDataModule) and isinstance(net := getattr(pl_module, "net", None), nn.Module):
            example_BCHW = data.example_images(2).to(pl_module.dtype)
            with display_only("the summary of the network"):
                super().on_fit_start(trainer, _Network(net, example_BCHW).to(pl_module.device))


class _Network(LightningModule):
    """A module without metrics and data hooks."""

    def __init__(self, net: nn.Module, example_BCHW: torch.Tensor) -> None:
        super().__init__()
        while len(children := list(net.children())) == 1 and list(children[0].children()):
            net = children[0]  # a wrapper has no layers of its own
        self.net = net
        self.example_input_array = example_BCHW

    def forward(self, *args: Any) -> Any:
        return self.net(*args)
