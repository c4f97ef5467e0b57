"""Flattening: torch's numbers, and gradients in the memory order of the pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from src.nets.flatten import Flatten

CHANNELS_LAST, CHANNELS_FIRST = torch.channels_last, torch.contiguous_format


@pytest.mark.parametrize("order", [CHANNELS_LAST, CHANNELS_FIRST], ids=["channels last", "channels first"])
@pytest.mark.parametrize("start_dim", [1, 2])
def test_numbers_and_gradients_are_torchs(order: torch.memory_format, start_dim: int) -> None:
    torch.manual_seed(0)
    images_BCHW = torch.randn(2, 3, 4, 5).contiguous(memory_format=order)
    both = []
    for kind in (Flatten, nn.Flatten):
        leaf_BCHW = images_BCHW.clone().requires_grad_()
        flat = kind(start_dim)(leaf_BCHW * 1)
        (flat * torch.arange(120.0).view(flat.shape)).sum().backward()
        both.append((flat, leaf_BCHW.grad))
    (flat, grad), (expected, expected_grad) = both
    assert torch.equal(flat, expected)
    assert torch.equal(grad, expected_grad)


@pytest.mark.parametrize("order", [CHANNELS_LAST, CHANNELS_FIRST], ids=["channels last", "channels first"])
def test_gradients_lie_as_the_pictures_do(order: torch.memory_format) -> None:
    seen: list[torch.Tensor] = []
    images_BCHW = torch.randn(2, 3, 4, 5).contiguous(memory_format=order).requires_grad_()
    before_BCHW = images_BCHW * 1
    flat_BD = Flatten()(before_BCHW)
    before_BCHW.register_hook(seen.append)  # after that of the layer
    flat_BD.backward(torch.randn(2, 60))
    assert seen[0].is_contiguous(memory_format=order)


def test_other_shapes_and_no_gradients_pass() -> None:
    vectors_BD = torch.ones(2, 3, requires_grad=True)
    assert torch.equal(Flatten()(vectors_BD), vectors_BD)
    images_BCHW = torch.randn(2, 3, 4, 5).contiguous(memory_format=CHANNELS_LAST)
    assert torch.equal(Flatten()(images_BCHW), images_BCHW.flatten(1))
