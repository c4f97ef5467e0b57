"""Horizontal flips.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

import torch
from torch import Tensor

from src.data.augment.augmentation import Augmentation, within


def flip(images_BCHW: Tensor, flipped_B: Tensor) -> Tensor:
    """Flips horizontally where `flipped_B` is true."""
    return torch.where(flipped_B[:, None, None, None], images_BCHW.flip(-1), images_BCHW)


class Flip(Augmentation):
    """Flips an image horizontally at random."""

    num_uniforms = 1

    def __init__(self, probability: float = 0.5) -> None:
        """
        Args:
            probability: of a flip, in [0, 1].
        """
        self.probability = within("probability", probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return flip(images_BCHW, uniform_BK[:, 0] < self.probability)


class AlternatingFlip(Augmentation):
    """Flips an image horizontally in every second epoch: at random in the first epoch, alternating from then on, so
    that two successive epochs see both sides (Jordan 2024, arXiv 2404.00498, section 3.6)."""

    num_uniforms = 1
    resample_each_epoch = False

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        return flip(images_BCHW, (uniform_BK[:, 0] < 0.5) ^ (epoch % 2 == 1))
