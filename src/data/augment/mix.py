"""Mixup (Zhang 2018) and CutMix (Yun 2019): images mixed with another one of the batch, and their labels.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from src.data.augment.augmentation import within
from src.data.augment.boxes import Boxes


class Mix(ABC):
    """A mixture of each image with another one, its partner in the batch of all processes.

    Attributes:
        num_uniforms: K, the random numbers that one image needs.
    """

    num_uniforms: int
    resample_each_epoch = True

    @abstractmethod
    def __call__(self, images_BCHW: Tensor, partners_BCHW: Tensor, uniform_BK: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes augmented images in [0, 1].

        Returns:
            The images, and the weight of each image's own label (B,); the rest is that of its partner.
        """


def mixup(images_BCHW: Tensor, partners_BCHW: Tensor, weight_B: Tensor) -> Tensor:
    """The mean of two images with the given weight of the first."""
    return torch.lerp(partners_BCHW, images_BCHW, weight_B[:, None, None, None])


def cutmix_boxes(weight_B: Tensor, row_B: Tensor, column_B: Tensor, height: int, width: int) -> Boxes:
    """Rectangles around a pixel with the shape of the image, clipped at its border. Where they are not clipped, their
    area is one minus the weight."""
    half_B = (1 - weight_B).sqrt() / 2
    sides = []
    for center_B, length in ((row_B, height), (column_B, width)):
        reach_B = (half_B * length).long()
        first_B, last_B = (center_B - reach_B).clamp(0, length), (center_B + reach_B).clamp(0, length)
        sides.append((first_B, last_B - first_B))
    (top_B, height_B), (left_B, width_B) = sides
    return Boxes(top_B, left_B, height_B, width_B)


class _Beta:
    """Random numbers of the symmetric beta distribution from uniform ones: its quantiles, interpolated in a table.

    With x = sin(t)^2 the density of t is proportional to (sin t cos t)^(2 alpha - 1).
    """

    CELLS, QUANTILES = 1 << 16, 1 << 12

    def __init__(self, alpha: float) -> None:
        t = (torch.arange(self.CELLS, dtype=torch.float64) + 0.5) * (math.pi / 2 / self.CELLS)
        log_density = (2 * alpha - 1) * (t.sin() * t.cos()).log()
        mass = (log_density - log_density.max()).exp()
        mass[[0, -1]] *= 2 ** (2 * alpha - 1) / (2 * alpha)  # the integral of t^(2 alpha - 1) in place of its midpoint
        below = mass.cumsum(0)
        below = torch.cat([below.new_zeros(1), below / below[-1]])
        wanted = torch.linspace(0, 1, self.QUANTILES + 1, dtype=torch.float64)
        cell = torch.searchsorted(below, wanted).clamp(min=1, max=self.CELLS)
        within_cell = (wanted - below[cell - 1]) / (below[cell] - below[cell - 1]).clamp(min=1e-300)
        edge = (cell - 1 + within_cell.clamp(0, 1)) * (math.pi / 2 / self.CELLS)
        self.table = (edge.sin() ** 2).float()

    def __call__(self, uniform_B: Tensor) -> Tensor:
        self.table = self.table.to(uniform_B.device)
        position_B = uniform_B * self.QUANTILES
        low_B = position_B.long().clamp(max=self.QUANTILES - 1)
        return torch.lerp(self.table[low_B], self.table[low_B + 1], position_B - low_B)


class Mixup(Mix):
    """The mean of two images and of their labels, with a random weight (Zhang 2018, arXiv 1710.09412)."""

    num_uniforms = 2

    def __init__(self, alpha: float = 0.2, probability: float = 1.0) -> None:
        """
        Args:
            alpha: of the beta distribution of the weight; 1 is uniform, and a small one mixes little.
            probability: that an image is mixed, in [0, 1].
        """
        self.beta = _Beta(within("alpha", alpha, 0.01, 100))
        self.probability = within("probability", probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, partners_BCHW: Tensor, uniform_BK: Tensor) -> tuple[Tensor, Tensor]:
        weight_B = torch.where(uniform_BK[:, 1] < self.probability, self.beta(uniform_BK[:, 0]), 1.0)
        return mixup(images_BCHW, partners_BCHW, weight_B), weight_B


class CutMix(Mix):
    """A rectangle of one image in another, and the labels in the proportion of their areas (Yun 2019, arXiv
    1905.04899)."""

    num_uniforms = 4

    def __init__(self, alpha: float = 1.0, probability: float = 1.0) -> None:
        """
        Args:
            alpha: of the beta distribution of the area that remains; 1 is uniform.
            probability: that an image is mixed, in [0, 1].
        """
        self.beta = _Beta(within("alpha", alpha, 0.01, 100))
        self.probability = within("probability", probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, partners_BCHW: Tensor, uniform_BK: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images_BCHW.shape[-2:]
        weight_B = torch.where(uniform_BK[:, 1] < self.probability, self.beta(uniform_BK[:, 0]), 1.0)
        row_B, column_B = (uniform_BK[:, 2] * height).long(), (uniform_BK[:, 3] * width).long()
        boxes = cutmix_boxes(weight_B, row_B, column_B, height, width)
        weight_B = 1 - (boxes.height_B * boxes.width_B).to(weight_B.dtype) / (height * width)
        return torch.where(boxes.mask(height, width), partners_BCHW, images_BCHW), weight_B


class MixupOrCutMix(Mix):
    """Mixup for some images and CutMix for the others, at random."""

    num_uniforms = 5

    def __init__(self, mixup_alpha: float = 0.2, cutmix_alpha: float = 1.0, cutmix_probability: float = 0.5) -> None:
        """
        Args:
            mixup_alpha: as `alpha` of Mixup.
            cutmix_alpha: as `alpha` of CutMix.
            cutmix_probability: that an image has CutMix, in [0, 1].
        """
        self.mixup, self.cutmix = Mixup(mixup_alpha), CutMix(cutmix_alpha)
        self.cutmix_probability = within("cutmix_probability", cutmix_probability, 0, 1)

    def __call__(self, images_BCHW: Tensor, partners_BCHW: Tensor, uniform_BK: Tensor) -> tuple[Tensor, Tensor]:
        mean_BCHW, weight_B = self.mixup(images_BCHW, partners_BCHW, uniform_BK)
        cut_BCHW, cut_weight_B = self.cutmix(images_BCHW, partners_BCHW, uniform_BK)
        cuts_B = uniform_BK[:, 4] < self.cutmix_probability
        return torch.where(cuts_B[:, None, None, None], cut_BCHW, mean_BCHW), torch.where(
            cuts_B, cut_weight_B, weight_B
        )
