"""Cutout."""

from __future__ import annotations

import pytest
import torch

from src.data.augment import Cutout
from src.data.augment.cutout import cutout
from tests.data.augment.cases import (
    LAST,
    index,
    uniforms,
)


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        (1, 0, [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]),
        (-1, -1, [[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
        (2, 3, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0]]),
        (3, 0, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
    ],
)
def test_square_is_filled_and_clipped_at_the_border(row: int, column: int, expected: list[list[int]]):
    images_BCHW = torch.ones(1, 3, 3, 4)
    assert cutout(images_BCHW, index(row), index(column), size=2)[0].tolist() == [expected] * 3
    assert images_BCHW.min() == 1  # the input is not modified


@pytest.mark.parametrize(
    ("size", "row", "column", "top_left", "area"),
    [
        (2, 0.5, 0.5, (2, 2), 4),
        (2, 0.0, 0.5, (0, 2), 2),  # centered on row 0: its first row is cut off
        (2, 0.0, 0.0, (0, 0), 1),
        (2, LAST, LAST, (4, 4), 4),  # centered on the last pixel, which is its lower right one
        (3, 0.5, 0.5, (2, 2), 9),
        (3, LAST, LAST, (4, 4), 4),
        (20, 0.5, 0.5, (0, 0), 36),
    ],
)
def test_square_is_centered_on_a_pixel(size: int, row: float, column: float, top_left: tuple[int, int], area: int):
    filled = (Cutout(size, value=0.25)(torch.ones(1, 1, 6, 6), uniforms(row, column), 0) == 0.25)[0, 0]
    assert int(filled.sum()) == area
    assert tuple(filled.nonzero()[0].tolist()) == top_left
