from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from src.models.layers import layers


def names_of(net: nn.Module) -> list[str]:
    return list(layers(net))


def test_each_module_of_a_sequential_is_a_layer_and_a_norm_belongs_to_the_one_before() -> None:
    block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), block, nn.Flatten(), nn.Linear(4, 2))
    assert [(name, len(parameters)) for name, parameters in layers(net).items()] == [
        ("0", 2),
        ("1", 2),
        ("2.0", 4),
        ("4", 2),
    ]


def test_a_module_with_most_parameters_is_divided_and_its_own_parameters_are_of_the_first_layer() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.token = nn.Parameter(torch.zeros(1, 4))

    net = nn.Sequential(Encoder(), nn.Linear(4, 2))
    found = layers(net)
    assert list(found) == ["0.stem", "0.blocks.0", "0.blocks.1", "1"]
    assert any(own is net[0].token for own in found["0.stem"])


@pytest.mark.parametrize(
    "name, number, head",
    [("resnet18", 10, "fc"), ("vit_b_16", 14, "heads.head"), ("mobilenet_v3_small", 15, "classifier.3")],
)
def test_networks_of_torchvision_have_their_blocks_as_layers(name: str, number: int, head: str) -> None:
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
    assert len(names_of(net)) == number and names_of(net)[-1] == head


def test_a_shared_parameter_is_in_one_layer() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [len(parameters) for parameters in layers(net).values()] == [3, 2]
