"""The networks of the notebooks: their size, their first weights, their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from src.models.cnn import DeepCNN, FourthConv, SimpleCNN, _conv

FOURTH: list[FourthConv] = ["valid", "same", "strided"]


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.fixture(scope="module")
def simple() -> SimpleCNN:
    torch.manual_seed(0)
    return SimpleCNN()


# For example simple: (3 * 9 + 1) * 32 + (16 * 16 * 32 + 1) * 512 + (512 + 1) * 10.
def test_the_simple_network_has_the_notebook_s_parameters(simple: SimpleCNN):
    assert parameters(simple) == 4_200_842


@pytest.mark.parametrize(("fourth_conv", "expected"), [("valid", 1_676_842), ("same", 2_168_362), ("strided", 202_282)])
def test_the_deep_networks_have_the_notebooks_parameters(fourth_conv: FourthConv, expected: int):
    assert parameters(DeepCNN(fourth_conv=fourth_conv)) == expected


def test_the_valid_network_is_the_default():
    assert parameters(DeepCNN()) == 1_676_842


@pytest.mark.parametrize("net", [SimpleCNN, *[partial(DeepCNN, fourth_conv=fourth) for fourth in FOURTH]])
@pytest.mark.parametrize(("num_classes", "image_size", "channels"), [(10, 32, 3), (2, 13, 1)])
def test_logits_have_one_row_a_picture(net: Callable[..., nn.Module], num_classes: int, image_size: int, channels: int):
    made = net(num_classes=num_classes, image_size=image_size, channels=channels)
    images_BCHW = torch.zeros(2, channels, image_size, image_size)
    assert made(images_BCHW).shape == (2, num_classes)


@pytest.mark.parametrize(("net", "drops"), [(SimpleCNN, [0.25, 0.5]), (DeepCNN, [0.25, 0.25, 0.5])])
def test_dropout_follows_each_pool_and_precedes_the_last_layer(net: type[nn.Module], drops: list[float]):
    assert [module.p for module in net().modules() if isinstance(module, nn.Dropout)] == drops


def test_weights_are_glorot_uniform_and_biases_zero(simple: SimpleCNN):
    # The bound is sqrt(6 / (inputs + outputs)), each counted with the 3 x 3 pixels of a convolution's kernel.
    bounds = {
        "0": math.sqrt(6 / (3 * 9 + 32 * 9)),
        "5": math.sqrt(6 / (16 * 16 * 32 + 512)),
        "8": math.sqrt(6 / (512 + 10)),
    }
    found = {name: module for name, module in simple.named_children() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert found.keys() == bounds.keys()
    for name, module in found.items():
        # The largest of n uniform numbers stays below 97 % of the bound once in 0.97 ** -n; n is 864 or more.
        assert 0.97 * bounds[name] < float(module.weight.detach().abs().max()) <= bounds[name] * (1 + 1e-6)
        # Uniform between the bounds: a deviation of bound / sqrt(3).
        assert float(module.weight.detach().std()) == pytest.approx(bounds[name] / math.sqrt(3), rel=0.05)
        assert module.bias is not None
        assert not module.bias.any()


@pytest.mark.parametrize("fourth_conv", FOURTH)
def test_every_layer_of_a_deep_network_is_glorot_uniform(fourth_conv: FourthConv):
    layers = [m for m in DeepCNN(fourth_conv=fourth_conv).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        field = layer.weight[0, 0].numel()
        bound = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
        assert 0.97 * bound < float(layer.weight.detach().abs().max()) <= bound * (1 + 1e-6)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_the_same_seed_gives_the_same_first_weights(simple: SimpleCNN):
    for seed, same in [(0, True), (1, False)]:
        torch.manual_seed(seed)
        assert torch.equal(SimpleCNN().state_dict()["0.weight"], simple.state_dict()["0.weight"]) is same


def test_pooling_before_the_relu_gives_what_pooling_after_it_gives():
    torch.manual_seed(0)
    conv, pool, relu = _conv(3, 4, pool=True)
    assert [type(module) for module in (conv, pool, relu)] == [nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    images_BCHW = torch.randn(2, 3, 6, 6)
    weight_BCHW = torch.randn(2, 4, 3, 3)

    def value_and_gradients(*modules: nn.Module) -> list[Tensor]:
        given = images_BCHW.clone().requires_grad_()
        value = nn.Sequential(*modules)(given)
        return [value, *torch.autograd.grad((value * weight_BCHW).sum(), [given, *conv.parameters()])]

    before, after = value_and_gradients(conv, pool, relu), value_and_gradients(conv, relu, pool)
    assert 0 < int((before[0] == 0).sum()) < before[0].numel()  # some windows are negative throughout
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_pictures_of_the_least_size_are_taken():
    assert SimpleCNN(image_size=2)(torch.zeros(1, 3, 2, 2)).shape == (1, 10)


@pytest.mark.parametrize(("fourth_conv", "least"), [("valid", 8), ("same", 4), ("strided", 12)])
def test_a_deep_network_needs_a_pixel_after_its_second_pool(fourth_conv: FourthConv, least: int):
    # 8 / 2 - 2 = 2 pixels are left to pool; 4 / 2 = 2; (12 / 2 - 3) / 3 + 1 = 2.
    net = DeepCNN(fourth_conv=fourth_conv, image_size=least)
    assert net(torch.zeros(1, 3, least, least)).shape == (1, 10)
    for size in range(1, least):
        with pytest.raises(ValueError, match=f"image_size {size} is too small"):
            DeepCNN(fourth_conv=fourth_conv, image_size=size)


@pytest.mark.parametrize("net", [SimpleCNN, DeepCNN])
@pytest.mark.parametrize("name", ["num_classes", "image_size", "channels"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_number_below_one_is_named(net: type[nn.Module], name: str, value: int):
    with pytest.raises(ValueError, match=f"^{name} {value} must be at least 1"):
        net(**{name: value})


def test_a_single_pixel_is_too_small_for_the_simple_network():
    with pytest.raises(ValueError, match="image_size 1 is too small"):
        SimpleCNN(image_size=1)
