"""The filters of the first convolution.

Shapes: F filters, C channels, h rows and w columns of a filter.
"""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.callbacks.display_only import display_only
from src.callbacks.image_grid import image_grid
from src.callbacks.log_image import image_loggers, log_image
from src.callbacks.sharded_network import complete

MAX_FILTERS = 64


class FirstLayerFilters(Callback):
    """Shows the filters of the network's first convolution, if it is one of images with one or three channels, when
    training starts and when it ends. Filters that have learned are smooth edges, bars and colors, not noise."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._show(trainer, pl_module, "initial")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer, pl_module, "trained")

    def _show(self, trainer: Trainer, pl_module: LightningModule, state: str) -> None:
        layer = next((one for one in pl_module.modules() if isinstance(one, nn.Conv2d)), None)
        if layer is None or layer.weight.shape[1] not in (1, 3):
            return
        weight_FChw = complete(layer.weight.detach())
        if image_loggers(trainer):
            with display_only("the filters of the first layer"):
                filters_FhwC = scaled(weight_FChw[:MAX_FILTERS]).permute(0, 2, 3, 1)
                size = "x".join(map(str, layer.kernel_size))
                title = f"First layer, {state}: {len(filters_FhwC)} of {layer.out_channels} filters of {size}"
                figure = image_grid(filters_FhwC, [""] * len(filters_FhwC), 8, title)
                log_image(trainer, f"view_train/first_layer_{state}", figure)


def scaled(filters_FChw: Tensor) -> Tensor:
    """Filters on the CPU with 0 as gray, each scaled to [0, 1] by its largest magnitude."""
    filters_FChw = filters_FChw.float().cpu()
    largest_F111 = filters_FChw.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return 0.5 + filters_FChw / (2 * largest_F111)
