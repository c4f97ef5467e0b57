"""What a network does with images that the test has not shown to it, on rank 0 alone.

Shapes: N images, B of them in a batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from src.data import ImageDataModule
from src.data.datamodule import Subset
from src.models.layers import multiply_adds

# Images (B, C, H, W) in [0, 1] and their indices (B,) to images in [0, 1].
Change = Callable[[Tensor, Tensor], Tensor]


class Cost(NamedTuple):
    """What one image costs."""

    images_per_second: float
    batch_size: int
    multiply_adds: int | None  # None if the operations of the network are unknown


class NetworkOnImages:
    """Runs the network of a module, in the precision of its trainer, on images of a data module."""

    def __init__(self, trainer: Trainer, module: LightningModule, data: ImageDataModule) -> None:
        self._precision = trainer.precision_plugin
        self._module = module
        self._data = data

    def logits(self, subset: Subset, indices_N: Tensor, change: Change | None = None) -> Tensor:
        """Logits (N, K) on the CPU.

        Args:
            subset: of the dataset.
            indices_N: of the images in it.
            change: of the images before normalization.
        """
        return torch.cat([self._forward(self._images(subset, one, change)).cpu() for one in self._batches(indices_N)])

    def cost(self, indices_N: Tensor) -> Cost:
        """The shortest time of three batches of at most 64 test images after a first one."""
        batch_B = indices_N[:64]
        images_BCHW = self._images("test", batch_B)
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            self._forward(images_BCHW).cpu()  # waits for a GPU
            seconds.append(time.perf_counter() - start)
        counted = multiply_adds(self._forward, images_BCHW[:2])
        return Cost(len(batch_B) / min(seconds[1:]), len(batch_B), counted)

    def _batches(self, indices_N: Tensor) -> tuple[Tensor, ...]:
        return indices_N.split(min(self._data.batch_size, 256))

    def _images(self, subset: Subset, indices_B: Tensor, change: Change | None = None) -> Tensor:
        images_NHWC = self._data.image_set(subset).images_NHWC
        images_BHWC = images_NHWC[indices_B.to(images_NHWC.device)].to(self._module.device)
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float() / 255
        if change:
            images_BCHW = change(images_BCHW, indices_B)
        return self._data.normalize_images(images_BCHW).contiguous(memory_format=torch.channels_last)

    def _forward(self, images_BCHW: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad(), self._precision.forward_context():
            return self._module(images_BCHW.clone()).float()
