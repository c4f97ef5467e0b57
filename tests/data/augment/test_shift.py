"""Shifts by integer numbers of pixels."""

from __future__ import annotations

import pytest
import torch

from src.data.augment import Shift
from src.data.augment.augmentation import Fill
from src.data.augment.shift import shift
from tests.data.augment.cases import (
    FILLS,
    LAST,
    PATTERNS,
    A,
    B,
    C,
    D,
    image,
    index,
    numbered,
    uniforms,
)


@pytest.mark.parametrize(("fill", "right", "expected"), PATTERNS)
def test_fill_of_a_row_is_that_of_keras(fill: Fill, right: int, expected: list[float]):
    actual = shift(image([[A, B, C, D]]), index(0), index(right), fill)
    assert torch.equal(actual, image([expected]))


@pytest.mark.parametrize(("fill", "down", "expected"), PATTERNS)
def test_fill_of_a_column_is_that_of_keras(fill: Fill, down: int, expected: list[float]):
    actual = shift(image([[A], [B], [C], [D]]), index(down), index(0), fill)
    assert torch.equal(actual, image([[number] for number in expected]))


def test_one_shift_per_image_for_all_channels():
    images_BCHW = torch.cat([numbered(2, 3), 10 * numbered(2, 3)], dim=1).repeat(2, 1, 1, 1)
    actual = shift(images_BCHW, torch.tensor([0, 1]), torch.tensor([1, -1]), "constant")
    assert actual[0].tolist() == [[[0, 1, 2], [0, 4, 5]], [[0, 10, 20], [0, 40, 50]]]
    assert actual[1].tolist() == [[[0, 0, 0], [2, 3, 0]], [[0, 0, 0], [20, 30, 0]]]


def test_shift_by_each_number_of_pixels_is_equally_likely():
    # Fifths of [0, 1) move by -2, -1, 0, 1 and 2: the bright pixel in the middle of 5 moves to each position.
    uniform_BK = torch.tensor([[0.0, LAST], [0.19, 0.81], [0.21, 0.79], [0.41, 0.59], [0.61, 0.39], [LAST, 0.0]])
    bright = torch.zeros(6, 1, 5, 5)
    bright[:, :, 2, 2] = 1
    positions = Shift(2, "constant")(bright, uniform_BK, 0).nonzero()[:, 2:].tolist()
    assert positions == [[0, 4], [0, 4], [1, 3], [2, 2], [3, 1], [4, 0]]


@pytest.mark.parametrize("fill", FILLS)
def test_shift_uses_its_fill(fill: Fill):
    expected = {"nearest": [A, A, A, B], "reflect": [B, A, A, B], "constant": [0, 0, A, B]}[fill]
    assert torch.equal(Shift(2, fill)(image([[A, B, C, D]]), uniforms(0.5, LAST), 0), image([expected]))
