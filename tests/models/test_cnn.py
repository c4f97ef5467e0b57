"""The networks of the notebooks: number of parameters, initial weights, shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from src.models.cnn import DeepCNN, FourthConv, SimpleCNN, _conv

FOURTH_CONVS: list[FourthConv] = ["valid", "same", "strided"]


def num_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.fixture(scope="module")
def simple() -> SimpleCNN:
    torch.manual_seed(0)
    return SimpleCNN()


# For example simple: (3 * 9 + 1) * 32 + (16 * 16 * 32 + 1) * 512 + (512 + 1) * 10.
def test_simple_network_has_the_number_of_parameters_of_the_notebook(simple: SimpleCNN):
    assert num_parameters(simple) == 4_200_842


@pytest.mark.parametrize(("fourth_conv", "expected"), [("valid", 1_676_842), ("same", 2_168_362), ("strided", 202_282)])
def test_deep_networks_have_the_number_of_parameters_of_the_notebooks(fourth_conv: FourthConv, expected: int):
    assert num_parameters(DeepCNN(fourth_conv=fourth_conv)) == expected


def test_valid_is_the_default():
    assert num_parameters(DeepCNN()) == 1_676_842


@pytest.mark.parametrize(
    "net", [SimpleCNN, *[partial(DeepCNN, fourth_conv=fourth_conv) for fourth_conv in FOURTH_CONVS]]
)
@pytest.mark.parametrize(("num_classes", "image_size", "channels"), [(10, 32, 3), (2, 13, 1)])
def test_one_row_of_logits_per_image(net: Callable[..., nn.Module], num_classes: int, image_size: int, channels: int):
    module = net(num_classes=num_classes, image_size=image_size, channels=channels)
    images_BCHW = torch.zeros(2, channels, image_size, image_size)
    assert module(images_BCHW).shape == (2, num_classes)


@pytest.mark.parametrize(("net", "expected"), [(SimpleCNN, [0.25, 0.5]), (DeepCNN, [0.25, 0.25, 0.5])])
def test_dropout_after_each_pool_and_before_the_last_layer(net: type[nn.Module], expected: list[float]):
    assert [module.p for module in net().modules() if isinstance(module, nn.Dropout)] == expected


def test_initial_weights_are_glorot_uniform_and_biases_zero(simple: SimpleCNN):
    # The bound is sqrt(6 / (fan_in + fan_out)), where a convolution has 9 = 3 x 3 weights per channel.
    bounds = {
        "0": math.sqrt(6 / (3 * 9 + 32 * 9)),
        "5": math.sqrt(6 / (16 * 16 * 32 + 512)),
        "8": math.sqrt(6 / (512 + 10)),
    }
    layers = {name: module for name, module in simple.named_children() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert layers.keys() == bounds.keys()
    for name, module in layers.items():
        # The maximum of n >= 864 uniform numbers is below 97 % of the bound with probability 0.97 ** n < 1e-11.
        assert 0.97 * bounds[name] < float(module.weight.detach().abs().max()) <= bounds[name] * (1 + 1e-6)
        # The standard deviation of a uniform distribution in [-bound, bound] is bound / sqrt(3).
        assert float(module.weight.detach().std()) == pytest.approx(bounds[name] / math.sqrt(3), rel=0.05)
        assert module.bias is not None
        assert not module.bias.any()


@pytest.mark.parametrize("fourth_conv", FOURTH_CONVS)
def test_all_layers_of_a_deep_network_are_glorot_uniform(fourth_conv: FourthConv):
    layers = [m for m in DeepCNN(fourth_conv=fourth_conv).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        kernel_size = layer.weight[0, 0].numel()
        bound = math.sqrt(6 / (kernel_size * (layer.weight.shape[0] + layer.weight.shape[1])))
        assert 0.97 * bound < float(layer.weight.detach().abs().max()) <= bound * (1 + 1e-6)
        assert layer.bias is not None
        assert not layer.bias.any()


def test_same_seed_gives_same_initial_weights(simple: SimpleCNN):
    for seed, same in [(0, True), (1, False)]:
        torch.manual_seed(seed)
        assert torch.equal(SimpleCNN().state_dict()["0.weight"], simple.state_dict()["0.weight"]) is same


def test_pooling_before_the_relu_equals_pooling_after_it():
    torch.manual_seed(0)
    conv, pool, relu = _conv(3, 4, pool=True)
    assert [type(module) for module in (conv, pool, relu)] == [nn.Conv2d, nn.MaxPool2d, nn.ReLU]
    images_BCHW = torch.randn(2, 3, 6, 6)
    weight_BCHW = torch.randn(2, 4, 3, 3)

    def output_and_gradients(*modules: nn.Module) -> list[Tensor]:
        input_BCHW = images_BCHW.clone().requires_grad_()
        output_BCHW = nn.Sequential(*modules)(input_BCHW)
        return [output_BCHW, *torch.autograd.grad((output_BCHW * weight_BCHW).sum(), [input_BCHW, *conv.parameters()])]

    before, after = output_and_gradients(conv, pool, relu), output_and_gradients(conv, relu, pool)
    assert 0 < int((before[0] == 0).sum()) < before[0].numel()  # some pooling windows are all negative
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_simple_network_accepts_images_of_two_pixels():
    assert SimpleCNN(image_size=2)(torch.zeros(1, 3, 2, 2)).shape == (1, 10)


@pytest.mark.parametrize(("fourth_conv", "smallest"), [("valid", 8), ("same", 4), ("strided", 12)])
def test_deep_network_needs_a_pixel_after_the_second_pool(fourth_conv: FourthConv, smallest: int):
    # Pixels before the second pool: 8 / 2 - 2 = 2; 4 / 2 = 2; (12 / 2 - 3) / 3 + 1 = 2.
    net = DeepCNN(fourth_conv=fourth_conv, image_size=smallest)
    assert net(torch.zeros(1, 3, smallest, smallest)).shape == (1, 10)
    for size in range(smallest):
        with pytest.raises(ValueError, match=f"image_size {size} is too small .* at least {smallest}"):
            DeepCNN(fourth_conv=fourth_conv, image_size=size)


@pytest.mark.parametrize("net", [SimpleCNN, DeepCNN])
@pytest.mark.parametrize("name", ["num_classes", "channels"])
@pytest.mark.parametrize("value", [0, -3])
def test_number_below_one_raises(net: type[nn.Module], name: str, value: int):
    with pytest.raises(ValueError, match=f"{name} {value} .*must be at least 1"):
        net(**{name: value})


def test_one_pixel_is_too_small_for_the_simple_network():
    with pytest.raises(ValueError, match=r"image_size 1 is too small .* at least 2"):
        SimpleCNN(image_size=1)
