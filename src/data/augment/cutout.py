"""Cutout (DeVries and Taylor 2017, arXiv 1708.04552).

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

import math

import torch
from torch import Tensor

from src.data.augment.augmentation import Augmentation, within
from src.data.augment.boxes import Boxes


def cutout(images_BCHW: Tensor, row_B: Tensor, column_B: Tensor, size: int, value: float = 0.0) -> Tensor:
    """Fills a square of each image, clipped at the border; row_B and column_B are its top left pixel, int64."""
    size_B = torch.full_like(row_B, size)
    return images_BCHW.masked_fill(Boxes(row_B, column_B, size_B, size_B).mask(*images_BCHW.shape[-2:]), value)


class Cutout(Augmentation):
    """Fills a random square of each image (DeVries and Taylor 2017, arXiv 1708.04552)."""

    num_uniforms = 2

    def __init__(self, size: int = 8, value: float = 0.5) -> None:
        """
        Args:
            size: side of the square in pixels; its center is uniform over the pixels of the image.
            value: gray value of the square, 0 (black) to 1 (white).
        """
        self.size = int(within("size", size, 1, math.inf))
        self.value = within("value", value, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        height, width = images_BCHW.shape[-2:]
        row_B = (uniform_BK[:, 0] * height).long() - self.size // 2
        column_B = (uniform_BK[:, 1] * width).long() - self.size // 2
        return cutout(images_BCHW, row_B, column_B, self.size, self.value)
