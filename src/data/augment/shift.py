"""Translation by integer numbers of pixels.

Shapes: B images, C channels, H rows, W columns, L rows or columns, K random numbers per image.
"""

import math

import torch
from torch import Tensor

from src.data.augment.augmentation import FILLS, Augmentation, Fill, one_of, within


def shift(images_BCHW: Tensor, down_B: Tensor, right_B: Tensor, fill: Fill = "reflect") -> Tensor:
    """Moves each image down_B rows down and right_B columns to the right, int64. Pixels outside the image: `nearest`
    repeats the edge pixel (a a|a b c), `reflect` mirrors at the border (b a|a b c), `constant` is black."""
    height, width = images_BCHW.shape[-2:]
    rows_BH, rows_valid_BH = _source(height, down_B, fill)
    columns_BW, columns_valid_BW = _source(width, right_B, fill)
    batch_B11 = torch.arange(len(images_BCHW), device=images_BCHW.device)[:, None, None]
    # Channels-last during the gather: each pixel is then one contiguous piece of memory.
    moved_BHWC = images_BCHW.permute(0, 2, 3, 1)[batch_B11, rows_BH[:, :, None], columns_BW[:, None, :]]
    if fill == "constant":
        moved_BHWC = moved_BHWC * (rows_valid_BH[:, :, None] & columns_valid_BW[:, None, :]).unsqueeze(-1)
    return moved_BHWC.permute(0, 3, 1, 2)


def _source(length: int, by_B: Tensor, fill: Fill) -> tuple[Tensor, Tensor]:
    """The index along one axis from which each pixel is read, and whether it is inside the image."""
    wanted_BL = torch.arange(length, device=by_B.device) - by_B[:, None]
    valid_BL = (wanted_BL >= 0) & (wanted_BL < length)
    if fill == "reflect":
        around_BL = wanted_BL.remainder(2 * length)
        return torch.minimum(around_BL, 2 * length - 1 - around_BL), valid_BL
    return wanted_BL.clamp(0, length - 1), valid_BL


class Shift(Augmentation):
    """Translates an image by integer numbers of pixels, which is the same as padding and a random crop."""

    num_uniforms = 2

    def __init__(self, pixels: int = 4, fill: Fill = "reflect") -> None:
        """
        Args:
            pixels: maximum translation in each direction, in pixels.
            fill: pixels outside the image: `nearest`, `reflect` or `constant` (black).
        """
        self.pixels = int(within("pixels", pixels, 0, math.inf))
        self.fill: Fill = one_of("fill", fill, FILLS)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        by_B2 = (uniform_BK * (2 * self.pixels + 1)).long() - self.pixels
        return shift(images_BCHW, by_B2[:, 0], by_B2[:, 1], self.fill)
