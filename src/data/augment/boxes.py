"""Random rectangles, one per image.

Shapes: B images, C channels, H rows, W columns, A attempts.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from src.rng import between

ATTEMPTS = 10  # as torchvision has it
NUM_UNIFORMS = 2 * ATTEMPTS + 2


class Boxes(NamedTuple):
    """Rectangles in pixels, int64 (B,) each."""

    top_B: Tensor
    left_B: Tensor
    height_B: Tensor
    width_B: Tensor

    def mask(self, height: int, width: int) -> Tensor:
        """Whether a pixel is inside, (B, 1, H, W)."""
        from_top_BH = torch.arange(height, device=self.top_B.device) - self.top_B[:, None]
        from_left_BW = torch.arange(width, device=self.top_B.device) - self.left_B[:, None]
        rows_BH = (from_top_BH >= 0) & (from_top_BH < self.height_B[:, None])
        columns_BW = (from_left_BW >= 0) & (from_left_BW < self.width_B[:, None])
        return (rows_BH[:, :, None] & columns_BW[:, None, :]).unsqueeze(1)


def random_boxes(
    uniform_BK: Tensor, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """Rectangles inside an image, as of torchvision's `RandomResizedCrop` and `RandomErasing`: of several attempts the
    first that fits, else the entire image.

    Args:
        uniform_BK: NUM_UNIFORMS random numbers per image.
        height: H.
        width: W.
        scale: fraction of the area, from and to, uniform.
        ratio: of width to height, from and to, uniform in its logarithm.
    """
    area_BA = height * width * between(uniform_BK[:, :ATTEMPTS], *scale)
    ratio_BA = between(uniform_BK[:, ATTEMPTS : 2 * ATTEMPTS], math.log(ratio[0]), math.log(ratio[1])).exp()
    widths_BA, heights_BA = (area_BA * ratio_BA).sqrt().round().long(), (area_BA / ratio_BA).sqrt().round().long()
    fits_BA = (widths_BA > 0) & (widths_BA <= width) & (heights_BA > 0) & (heights_BA <= height)
    first_B1 = fits_BA.long().argmax(1, keepdim=True)
    any_B = fits_BA.any(1)
    height_B = torch.where(any_B, heights_BA.gather(1, first_B1)[:, 0], height)
    width_B = torch.where(any_B, widths_BA.gather(1, first_B1)[:, 0], width)
    top_B = (uniform_BK[:, -2] * (height - height_B + 1)).long()
    left_B = (uniform_BK[:, -1] * (width - width_B + 1)).long()
    return Boxes(top_B, left_B, height_B, width_B)


def ordered(name: str, values: tuple[float, float], low: float, high: float) -> tuple[float, float]:
    """Two numbers, or a ValueError if they are not in this order within [low, high]."""
    first, last = values
    if not low <= first <= last <= high:
        raise ValueError(f"{name} {list(values)} must be two numbers in [{low}, {high}], the smaller first")
    return first, last
