"""The residual network: its size, its shapes, its shortcuts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src.models.resnet import CIFARResNet18, _Block


def test_it_has_the_well_known_number_of_parameters():
    assert sum(parameter.numel() for parameter in CIFARResNet18().parameters()) == 11_173_962


def test_the_last_stage_sees_four_by_four_pixels():
    net = CIFARResNet18().eval()
    with torch.no_grad():
        features_BCHW = net.stages(net.stem(torch.zeros(1, 3, 32, 32)))
    assert features_BCHW.shape == (1, 512, 4, 4)


@pytest.mark.parametrize(("num_classes", "channels", "image_size"), [(10, 3, 32), (2, 1, 13)])
def test_logits_have_one_row_a_picture(num_classes: int, channels: int, image_size: int):
    net = CIFARResNet18(num_classes, channels).eval()
    assert net(torch.zeros(2, channels, image_size, image_size)).shape == (2, num_classes)


def test_only_the_first_blocks_of_later_stages_project_their_shortcut():
    blocks = [module for module in CIFARResNet18().modules() if isinstance(module, _Block)]
    projected = [not isinstance(block.shortcut, nn.Identity) for block in blocks]
    assert projected == [False, False, True, False, True, False, True, False]


@pytest.mark.parametrize("zero_init", [False, True])
def test_zero_init_makes_a_block_the_identity(zero_init: bool):
    net = CIFARResNet18(zero_init=zero_init)
    block = net.get_submodule("stages.0.1")
    features_BCHW: Tensor = torch.rand(2, 64, 4, 4)
    assert torch.equal(block(features_BCHW), features_BCHW) is zero_init


@pytest.mark.parametrize(("num_classes", "channels", "named"), [(0, 3, "num_classes 0"), (10, -1, "channels -1")])
def test_a_number_out_of_range_is_named(num_classes: int, channels: int, named: str):
    with pytest.raises(ValueError, match=f"{named} must be at least 1"):
        CIFARResNet18(num_classes, channels)
