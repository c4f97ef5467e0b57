"""Corrupted images, after a few of the corruptions of Hendrycks and Dietterich 2019 (arXiv 1903.12261). Strengths are
relative to the size of the image, so that they fit any dataset; the figures are not those of CIFAR-10-C.

Shapes: B images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from src import rng

# Images in [0, 1], their indices in the test set, a seed and a strength; returns images in [0, 1].
Corruption = Callable[..., Tensor]


def noise(images_BCHW: Tensor, indices_B: Tensor, seed: int, strength: float) -> Tensor:
    """Adds Gaussian noise of this std, which depends on the seed and the index of an image only."""
    generators = (rng.generator(seed, rng.Stream.REPORT, int(index)) for index in indices_B)
    noise_BCHW = torch.stack([torch.randn(images_BCHW.shape[1:], generator=generator) for generator in generators])
    return (images_BCHW + strength * noise_BCHW.to(images_BCHW.device)).clamp(0, 1)


def blur(images_BCHW: Tensor, indices_B: Tensor, seed: int, strength: float) -> Tensor:
    """Gaussian blur; its std is this fraction of the shorter side."""
    sigma = strength * min(images_BCHW.shape[2:])
    radius = min(max(1, round(3 * sigma)), min(images_BCHW.shape[2:]) - 1)
    return TF.gaussian_blur(images_BCHW, [2 * radius + 1] * 2, [sigma] * 2)


def brightness(images_BCHW: Tensor, indices_B: Tensor, seed: int, strength: float) -> Tensor:
    """Adds this to all pixels."""
    return (images_BCHW + strength).clamp(0, 1)


def contrast(images_BCHW: Tensor, indices_B: Tensor, seed: int, strength: float) -> Tensor:
    """Multiplies the difference from the mean of each channel by this."""
    mean_BC11 = images_BCHW.mean((2, 3), keepdim=True)
    return mean_BC11 + strength * (images_BCHW - mean_BC11)


def pixelate(images_BCHW: Tensor, indices_B: Tensor, seed: int, strength: float) -> Tensor:
    """Shrinks the image to this fraction of its sides and enlarges its pixels again."""
    size = [max(1, round(strength * side)) for side in images_BCHW.shape[2:]]
    return F.interpolate(F.interpolate(images_BCHW, size, mode="area"), images_BCHW.shape[2:], mode="nearest-exact")


# Each with a mild and a severe strength.
CORRUPTIONS: dict[str, tuple[Corruption, float, float]] = {
    "Gaussian noise": (noise, 0.04, 0.1),
    "blur": (blur, 0.02, 0.04),
    "brightness": (brightness, 0.1, 0.3),
    "contrast": (contrast, 0.5, 0.2),
    "pixelation": (pixelate, 0.75, 0.5),
}
