"""CIFAR-10 (Krizhevsky 2009): 60,000 colour pictures of 32 x 32 pixels in ten classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torchvision

from src.augment import Augmentation
from src.data.base import ImageData, Part, Pictures
from src.data.split import Split


class CIFAR10(ImageData):
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    # Of the 50,000 training pictures, each channel over all pixels.
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 128,
        val_fraction: float = 0.2,
        split: Split = "tail",
        split_seed: int = 0,
        augment: Sequence[Augmentation] = (),
        normalize: Literal["unit", "standard"] = "standard",
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, val_fraction, split, split_seed, augment, normalize, drop_last, seed)
        self.data_dir = data_dir

    def read(self, part: Part) -> Pictures:
        source = torchvision.datasets.CIFAR10(self.data_dir, train=part == "train")
        return Pictures(torch.from_numpy(source.data), torch.tensor(source.targets))
