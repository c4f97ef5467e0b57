"""The convolutional networks of the notebooks."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from src.models.dropout import Dropout

FourthConv = Literal["valid", "same", "strided"]


class SimpleCNN(nn.Sequential):
    """The network of notebook 002: one convolution, one hidden layer; 4,200,842 parameters for CIFAR-10."""

    def __init__(self, num_classes: int = 10, image_size: int = 32, channels: int = 3) -> None:
        """
        Args:
            num_classes: number of logits.
            image_size: height and width of the pictures in pixels, at least 2.
            channels: of the pictures.
        """
        _check(num_classes=num_classes, image_size=image_size, channels=channels)
        super().__init__(
            *_conv(channels, 32, pool=True),
            Dropout(0.25),
            *_head(_features(image_size // 2, 32, image_size), num_classes),
        )
        self.apply(initialize_as_keras)


class DeepCNN(nn.Sequential):
    """The network of notebooks 000, 001, 003 and 004: four convolutions, one hidden layer.

    The notebooks differ in the fourth convolution. 000, 001 and 003 trained the `valid` one (1,676,842
    parameters), 004 `same` (2,168,362). `strided` (202,282) is what `Conv2D(64, 3, 3)`, written for Keras 1,
    means in Keras 3.
    """

    def __init__(
        self,
        num_classes: int = 10,
        fourth_conv: FourthConv = "valid",
        image_size: int = 32,
        channels: int = 3,
    ) -> None:
        """
        Args:
            num_classes: number of logits.
            fourth_conv: `valid` without padding, `same` padded to keep the size, `strided` in steps of three
                pixels without padding.
            image_size: height and width of the pictures in pixels; at least 8 (valid), 4 (same) or 12 (strided).
            channels: of the pictures.
        """
        _check(num_classes=num_classes, image_size=image_size, channels=channels)
        if fourth_conv not in get_args(FourthConv):
            raise ValueError(f"fourth_conv {fourth_conv!r} is unknown; use one of {', '.join(get_args(FourthConv))}")
        padding, stride = {"valid": (0, 1), "same": (1, 1), "strided": (0, 3)}[fourth_conv]
        side = image_size // 2
        side = (side + 2 * padding - 3) // stride + 1
        super().__init__(
            *_conv(channels, 32),
            *_conv(32, 32, pool=True),
            Dropout(0.25),
            *_conv(32, 64),
            *_conv(64, 64, padding=padding, stride=stride, pool=True),
            Dropout(0.25),
            *_head(_features(side // 2, 64, image_size), num_classes),
        )
        self.apply(initialize_as_keras)


def initialize_as_keras(module: nn.Module) -> None:
    """Glorot-uniform weights and zero biases, the defaults of Keras's Conv2D and Dense."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _conv(inputs: int, outputs: int, padding: int = 1, stride: int = 1, pool: bool = False) -> list[nn.Module]:
    # Pooling before the ReLU gives the same numbers and the same gradients as after it, the maximum being
    # monotone, and leaves the ReLU a quarter of the work.
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=padding, stride=stride)
    return [conv, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU()]


def _head(features: int, num_classes: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(features, 512), nn.ReLU(), Dropout(0.5), nn.Linear(512, num_classes)]


def _features(side: int, channels: int, image_size: int) -> int:
    if side < 1:
        raise ValueError(f"image_size {image_size} is too small for this network: its pooling leaves no pixel")
    return side * side * channels


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value} must be at least 1")


__all__ = ["DeepCNN", "SimpleCNN"]
