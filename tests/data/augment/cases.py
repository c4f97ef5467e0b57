"""Images, matrices and expectations that the tests of augmentations share.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from src.data.augment.affine import rotation, scaling, translation
from src.data.augment.augmentation import Fill

LAST = 1 - 2**-24  # the largest number that torch.rand returns
A, B, C, D = 0.1, 0.2, 0.4, 0.8
FILLS: list[Fill] = ["nearest", "reflect", "constant"]

# What a row ABCD becomes when it is shifted to the right. Keras documents reflect as (d c b a | a b c d | d c b a),
# nearest as (a a a a | a b c d | d d d d) and constant as (k k k k | a b c d | k k k k).
PATTERNS = [
    ("nearest", 4, [A, A, A, A]),
    ("nearest", 2, [A, A, A, B]),
    ("nearest", 0, [A, B, C, D]),
    ("nearest", -1, [B, C, D, D]),
    ("nearest", -4, [D, D, D, D]),
    ("reflect", 4, [D, C, B, A]),
    ("reflect", 2, [B, A, A, B]),
    ("reflect", 0, [A, B, C, D]),
    ("reflect", -1, [B, C, D, D]),
    ("reflect", -4, [D, C, B, A]),
    ("reflect", 8, [A, B, C, D]),
    ("reflect", -9, [B, C, D, D]),
    ("constant", 4, [0, 0, 0, 0]),
    ("constant", 2, [0, 0, A, B]),
    ("constant", 0, [A, B, C, D]),
    ("constant", -1, [B, C, D, 0]),
    ("constant", -4, [0, 0, 0, 0]),
]


def image(rows: Sequence[Sequence[float]]) -> Tensor:
    """One image with one channel, (1, 1, H, W)."""
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def numbered(height: int, width: int) -> Tensor:
    """One image with another number at each pixel, (1, 1, H, W)."""
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width)


def index(number: int) -> Tensor:
    """A batch of one integer, (1,)."""
    return torch.tensor([number])


def uniforms(*numbers: float) -> Tensor:
    """The random numbers of one image, (1, K)."""
    return torch.tensor([numbers])


def rotated(degrees: float) -> Tensor:
    return rotation(torch.tensor([math.radians(degrees)]))


def translated(rows: float, columns: float) -> Tensor:
    return translation(torch.tensor([float(rows)]), torch.tensor([float(columns)]))


def scaled(rows: float, columns: float) -> Tensor:
    return scaling(torch.tensor([float(rows)]), torch.tensor([float(columns)]))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
