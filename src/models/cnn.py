"""The convolutional networks of the notebooks."""

from __future__ import annotations

from typing import Literal

from torch import nn

from src.models.dropout import Dropout

FourthConv = Literal["valid", "same", "strided"]


class SimpleCNN(nn.Sequential):
    """The network of notebook 002: one convolution and one hidden layer, 4,200,842 parameters for CIFAR-10.

    Args:
        num_classes: number of logits.
        image_size: height and width of the images in pixels, at least 2.
        channels: channels of the images.
    """

    def __init__(self, num_classes: int = 10, image_size: int = 32, channels: int = 3) -> None:
        _check(num_classes, channels, image_size, smallest=2)
        super().__init__(
            *_conv(channels, 32, pool=True),
            Dropout(0.25),
            *_head(32 * (image_size // 2) ** 2, num_classes),
        )
        self.apply(_init_as_keras)


class DeepCNN(nn.Sequential):
    """The network of notebooks 000, 001, 003 and 004: four convolutions and one hidden layer.

    The notebooks differ in the fourth convolution: 000, 001 and 003 train `valid` (1,676,842 parameters for
    CIFAR-10), 004 trains `same` (2,168,362). `strided` (202,282) is how Keras 3 reads the notebooks' line
    `Conv2D(64, 3, 3)`, which is written for Keras 1.

    Args:
        num_classes: number of logits.
        fourth_conv: `valid` has no padding, `same` keeps the size, `strided` has stride 3 and no padding.
        image_size: height and width of the images in pixels, at least 8 (valid), 4 (same) or 12 (strided).
        channels: channels of the images.
    """

    def __init__(
        self, num_classes: int = 10, fourth_conv: FourthConv = "valid", image_size: int = 32, channels: int = 3
    ) -> None:
        padding, stride, smallest = {"valid": (0, 1, 8), "same": (1, 1, 4), "strided": (0, 3, 12)}[fourth_conv]
        _check(num_classes, channels, image_size, smallest)
        side = (image_size // 2 + 2 * padding - 3) // stride + 1
        super().__init__(
            *_conv(channels, 32),
            *_conv(32, 32, pool=True),
            Dropout(0.25),
            *_conv(32, 64),
            *_conv(64, 64, padding=padding, stride=stride, pool=True),
            Dropout(0.25),
            *_head(64 * (side // 2) ** 2, num_classes),
        )
        self.apply(_init_as_keras)


def _init_as_keras(module: nn.Module) -> None:
    # The defaults of Keras's Conv2D and Dense: Glorot uniform weights, zero biases.
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]


def _conv(inputs: int, outputs: int, padding: int = 1, stride: int = 1, pool: bool = False) -> list[nn.Module]:
    # Pooling before the ReLU has the same outputs and gradients as after it, since the maximum is monotone, and
    # leaves the ReLU a quarter of the pixels.
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=padding, stride=stride)
    return [conv, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU()]


def _head(features: int, num_classes: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(features, 512), nn.ReLU(), Dropout(0.5), nn.Linear(512, num_classes)]


def _check(num_classes: int, channels: int, image_size: int, smallest: int) -> None:
    if num_classes < 1 or channels < 1:
        raise ValueError(f"num_classes {num_classes} and channels {channels} must be at least 1")
    if image_size < smallest:
        raise ValueError(f"image_size {image_size} is too small for this network; use at least {smallest}")
