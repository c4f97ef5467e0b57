"""CIFARResNet18: number of parameters, shapes, initialization."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.models import CIFARResNet18


def test_number_of_parameters():
    assert sum(parameter.numel() for parameter in CIFARResNet18().parameters()) == 11_173_962


def test_last_stage_has_four_by_four_pixels():
    net = CIFARResNet18().eval()
    shapes: list[torch.Size] = []
    net.layer4.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    net(torch.zeros(1, 3, 32, 32))
    assert shapes == [(1, 512, 4, 4)]


@pytest.mark.parametrize(("num_classes", "channels", "image_size"), [(10, 3, 32), (2, 1, 13)])
def test_one_row_of_logits_per_image(num_classes: int, channels: int, image_size: int):
    net = CIFARResNet18(num_classes, channels).eval()
    assert net(torch.zeros(2, channels, image_size, image_size)).shape == (2, num_classes)


def test_stem_is_initialized_like_the_other_convolutions():
    stem = CIFARResNet18().conv1.weight.detach()
    # He: a standard deviation of sqrt(2 / fan_out), fan_out = 9 * 64; 1,728 weights give it to 5 %.
    assert float(stem.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("zero_init_residual", [False, True])
def test_zero_init_residual_makes_a_block_the_identity(zero_init_residual: bool):
    block = CIFARResNet18(zero_init_residual=zero_init_residual).get_submodule("layer1.1")
    features_BCHW: Tensor = torch.rand(2, 64, 4, 4)
    assert torch.equal(block(features_BCHW), features_BCHW) is zero_init_residual


@pytest.mark.parametrize(("num_classes", "channels", "named"), [(0, 3, "num_classes 0"), (10, -1, "channels -1")])
def test_number_below_one_raises(num_classes: int, channels: int, named: str):
    with pytest.raises(ValueError, match=f"{named} .*must be at least 1"):
        CIFARResNet18(num_classes, channels)
