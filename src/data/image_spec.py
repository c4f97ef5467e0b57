"""What a network was trained on: the names of its classes, and how an image becomes its input.

Shapes: B images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

from src.data.storage.decode import Resize


@dataclass(frozen=True)
class ImageSpec:
    """The classes and the input of a network. It is saved in checkpoints as plain values, so that images can be
    classified with a checkpoint alone.

    Attributes:
        classes: the name of each logit.
        mean: of each channel of images in [0, 1], which is subtracted.
        std: of each channel, by which is then divided.
        size: H and W of the input in pixels.
        channels: C, 3 for RGB and 1 for gray.
        resize: how an image of another size becomes this one; see ImageFolder.
        stored_size: H and W to which an image is resized first, of which `size` is then the center.
        white: the value that becomes white in images of more than 8 bits; see `src.data.storage.decode`.
        multi_label: whether an image can have any number of the classes, each with a probability of its own.
        threshold: the probability from which an image has a class, if `multi_label`.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    channels: int
    resize: Resize = "crop"
    stored_size: tuple[int, int] | None = None
    white: dict[str, float] = field(default_factory=dict)
    multi_label: bool = False
    threshold: float = 0.5

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ImageSpec:
        """From the values of `dataclasses.asdict`, in which JSON has lists for tuples."""
        own: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**own)

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Class probabilities (B, K), which add up to 1 unless an image can have several classes."""
        return logits_BK.sigmoid() if self.multi_label else logits_BK.softmax(-1)

    def predicted(self, probabilities_BK: Tensor) -> Tensor:
        """The most probable class (B,), or whether an image has each class (B, K)."""
        return probabilities_BK >= self.threshold if self.multi_label else probabilities_BK.argmax(-1)

    def normalize(self, images_BCHW: Tensor) -> Tensor:
        """Normalizes images in [0, 1]."""
        return normalize(images_BCHW, *(constant_C11(one, images_BCHW.device) for one in (self.mean, self.std)))


def center(images_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle `size` rows and columns of images that have more."""
    height, width = images_BCHW.shape[-2:]
    rows, columns = min(size[0], height), min(size[1], width)
    top, left = (height - rows) // 2, (width - columns) // 2
    return images_BCHW[..., top : top + rows, left : left + columns]


def normalize(images_BCHW: Tensor, mean_C11: Tensor, std_C11: Tensor) -> Tensor:
    """Subtracts the mean of each channel and divides by its std."""
    return (images_BCHW - mean_C11) / std_C11


@cache
def constant_C11(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One value for each channel. Copied to the device once, since such a copy waits for the steps before it."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(-1, 1, 1)
