"""Horizontal flips."""

from __future__ import annotations

import pytest
import torch

from src.data.augment import AlternatingFlip, Flip
from src.data.augment.flip import flip
from tests.data.augment.cases import (
    LAST,
    image,
    uniforms,
)


def test_flip_of_the_selected_images():
    images_BCHW = image([[1.0, 2, 3], [4, 5, 6]]).repeat(2, 2, 1, 1)
    actual = flip(images_BCHW, torch.tensor([False, True]))
    assert torch.equal(actual[0], images_BCHW[0])
    assert actual[1].tolist() == [[[3, 2, 1], [6, 5, 4]]] * 2


@pytest.mark.parametrize(
    ("probability", "uniform", "flipped"),
    [(0.0, 0.0, False), (1.0, LAST, True), (0.3, 0.29, True), (0.3, 0.31, False)],
)
def test_probability_of_a_flip(probability: float, uniform: float, flipped: bool):
    actual = Flip(probability)(image([[1.0, 2.0]]), uniforms(uniform), 0)
    assert actual.flatten().tolist() == ([2, 1] if flipped else [1, 2])


@pytest.mark.parametrize(("uniform", "first"), [(0.1, [2, 1]), (0.9, [1, 2])])
def test_alternating_flip_alternates(uniform: float, first: list[int]):
    shown = [AlternatingFlip()(image([[1.0, 2.0]]), uniforms(uniform), epoch).flatten().tolist() for epoch in range(4)]
    assert shown == [first, first[::-1]] * 2
