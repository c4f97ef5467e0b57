from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from src.models.pretrained import fit_head, pretrained_normalization, takes_weights, without_weights


@pytest.mark.parametrize(
    "name, head", [("resnet18", "fc"), ("squeezenet1_1", "classifier.1"), ("convnext_tiny", "classifier.2")]
)
def test_the_last_layer_gets_one_output_per_class(name: str, head: str) -> None:
    with torch.device("meta"):
        net = torchvision.models.get_model(name)
        assert fit_head(net, 7) == f"{head} of 1000 outputs"
        assert net.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 7)
        assert fit_head(net, 7) is None


def test_a_network_of_timm_resets_its_classifier() -> None:
    class Timm(nn.Linear):
        num_classes = 1000

        def reset_classifier(self, num_classes: int) -> None:
            self.num_classes = num_classes

    net = Timm(2, 1000)
    assert fit_head(net, 7) == "the head of 1000 outputs" and net.num_classes == 7
    assert fit_head(net, 7) is None


def test_another_network_is_left_as_it_is() -> None:
    net = nn.Sequential(nn.Linear(2, 10))
    assert fit_head(net, 7) is None and net[0].out_features == 10


def test_the_normalization_is_that_of_the_weights() -> None:
    net = nn.Linear(2, 2)
    assert pretrained_normalization(net) is None
    net.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}  # pyright: ignore
    assert pretrained_normalization(net) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    found = pretrained_normalization(net, "torchvision.models.resnet18")
    assert found == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    "net, without",
    [
        ({"class_path": "torchvision.models.vgg11", "init_args": {"weights": "DEFAULT"}}, {"weights": None}),
        ({"class_path": "timm.create_model", "init_args": {"pretrained": True}}, {"pretrained": False}),
        ({"class_path": "timm.create_model", "init_args": {"checkpoint_path": "a.pth"}}, {"checkpoint_path": ""}),
        ({"class_path": "my.net", "init_args": {"pretrained": True, "depth": 3}}, {"pretrained": False, "depth": 3}),
        ({"class_path": "my.net", "init_args": {"weights": [1.0, 2.0]}}, None),  # another meaning
        ({"class_path": "torchvision.models.vgg11", "init_args": {"weights": None}}, None),
        ({"class_path": "my.net"}, None),
    ],
)
@pytest.mark.parametrize("place", ["init_args", "dict_kwargs"])
def test_the_arguments_of_pretrained_weights(net: dict[str, Any], without: dict[str, Any] | None, place: str) -> None:
    net = copy.deepcopy({place if name == "init_args" else name: value for name, value in net.items()})
    before = copy.deepcopy(net)
    assert takes_weights(net) == (without is not None)
    without_weights(net)
    assert net == ({**before, place: without} if without else before)
    assert not takes_weights(net)
