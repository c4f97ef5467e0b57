"""The filters of the first convolution."""

from __future__ import annotations

import torch

from src.callbacks.first_layer_filters import scaled


def test_zero_is_gray_and_the_largest_magnitude_black_or_white() -> None:
    filters_FChw = torch.tensor([[0.0, 2.0, -4.0], [0.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    assert scaled(filters_FChw).flatten(1).tolist() == [[0.5, 0.75, 0.0], [0.5, 0.5, 0.5]]
