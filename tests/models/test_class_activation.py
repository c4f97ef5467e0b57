"""Class-activation maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from src.models import DeepCNN, SpeedNet, TestTimeAugmentation
from src.models.class_activation import class_activation_maps
from src.models.dropout import Dropout


class ChannelMeans(nn.Module):
    """Class k is the mean of channel k, computed by a convolution that keeps each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, kernel_size=1, bias=False)
        nn.init.dirac_(self.conv.weight)
        self.dropout = Dropout(0.5)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.dropout(self.conv(images_BCHW)).mean((2, 3))


def images() -> Tensor:
    """One image, bright in the upper left corner of channel 0 and the lower right corner of channel 1."""
    images_BCHW = torch.zeros(1, 2, 4, 4)
    images_BCHW[0, 0, 0, 0] = images_BCHW[0, 1, 3, 3] = 2.0
    return images_BCHW


@pytest.mark.parametrize(("label", "place"), [(0, (0, 0)), (1, (3, 3))])
def test_a_map_shows_what_raises_the_logit_of_its_class(label: int, place: tuple[int, int]) -> None:
    maps_BHW = class_activation_maps(ChannelMeans(), images(), torch.tensor([label]))
    expected_HW = torch.zeros(4, 4)
    expected_HW[place] = 1.0
    assert maps_BHW is not None
    torch.testing.assert_close(maps_BHW, expected_HW[None])


def test_where_nothing_raises_the_logit_the_map_is_zero() -> None:
    maps_BHW = class_activation_maps(ChannelMeans(), -images(), torch.tensor([0]))
    assert maps_BHW is not None
    assert maps_BHW.eq(0).all()


def test_a_network_without_a_feature_map_has_none() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(32, 2))
    assert class_activation_maps(net, images(), torch.tensor([0])) is None


@pytest.mark.parametrize(
    "net",
    [
        DeepCNN(),
        SpeedNet(widths=(24, 24, 24)),
        TestTimeAugmentation(DeepCNN(), shift=1),
        resnet18(num_classes=10),
    ],
    ids=lambda net: type(net).__name__,
)
def test_the_state_of_training_is_left_as_it_was(net: nn.Module) -> None:
    net.train()
    next(net.children()).eval()  # frozen by the user
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    images_BCHW = torch.rand(2, 3, 32, 32)
    random = torch.get_rng_state()
    with torch.inference_mode():  # as in a test
        maps_BHW = class_activation_maps(net, images_BCHW.clone(), torch.tensor([1, 2]))
    assert maps_BHW is not None
    assert maps_BHW.shape == (2, 32, 32)
    assert [module.training for module in net.modules()] == modes
    assert all(weights.grad is None for weights in net.parameters())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(torch.get_rng_state(), random)
    net(images_BCHW).sum().backward()  # the weights can still be trained


def test_a_frozen_network_has_maps() -> None:
    net = DeepCNN().requires_grad_(False)
    assert class_activation_maps(net, torch.rand(2, 3, 32, 32), torch.tensor([1, 2])) is not None
