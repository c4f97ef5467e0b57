"""RandAugment (Cubuk 2020, arXiv 1909.13719) and TrivialAugment (Müller 2021, arXiv 2103.10158).

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from src.data.augment import color
from src.data.augment.affine import affine, rotation, translation
from src.data.augment.augmentation import Augmentation, within

LEVELS = 30  # the largest magnitude
Operation = Callable[[Tensor, Tensor, Tensor], Tensor]  # of images, strength in [0, 1] and sign


def _shear(images_BCHW: Tensor, by_B: Tensor, row: int) -> Tensor:
    matrix_B33 = torch.eye(3, device=by_B.device).repeat(len(by_B), 1, 1)
    matrix_B33[:, row, 1 - row] = by_B
    # About the first pixel of the other axis, as Pillow.
    matrix_B33[:, row, 2] = by_B * images_BCHW.shape[-2 + (1 - row)] / 2
    return affine(images_BCHW, matrix_B33, "constant")


def _translate(images_BCHW: Tensor, by_B: Tensor, axis: int) -> Tensor:
    zero_B = torch.zeros_like(by_B)
    return affine(images_BCHW, translation(*((-by_B, zero_B) if axis == 0 else (zero_B, -by_B))), "constant")


def _operations(
    shear: float, translate: Callable[[int], float], degrees: float, enhance: float, bits: int
) -> list[Operation]:
    """The 14 operations, with the values that they have at the largest magnitude; as torchvision lists them."""
    factor = lambda strength_B, sign_B: 1 + enhance * strength_B * sign_B  # noqa: E731
    return [
        lambda x, s, sign: x,
        lambda x, s, sign: _shear(x, shear * s * sign, row=1),
        lambda x, s, sign: _shear(x, shear * s * sign, row=0),
        lambda x, s, sign: _translate(x, (translate(x.shape[-1]) * s).trunc() * sign, axis=1),
        lambda x, s, sign: _translate(x, (translate(x.shape[-2]) * s).trunc() * sign, axis=0),
        lambda x, s, sign: affine(x, rotation((-degrees * s * sign).deg2rad()), "constant"),
        lambda x, s, sign: color.adjust_brightness(x, factor(s, sign)),
        lambda x, s, sign: color.adjust_saturation(x, factor(s, sign)),
        lambda x, s, sign: color.adjust_contrast(x, factor(s, sign)),
        lambda x, s, sign: color.adjust_sharpness(x, factor(s, sign)),
        lambda x, s, sign: color.posterize(x, 8 - (bits * s).round()),
        lambda x, s, sign: color.solarize(x, 1 - s),
        lambda x, s, sign: color.autocontrast(x),
        lambda x, s, sign: color.equalize(x),
    ]


class RandAugment(Augmentation):
    """Applies random ones of 14 operations with one magnitude (Cubuk 2020, arXiv 1909.13719): identity, shear,
    translation, rotation, brightness, saturation, contrast, sharpness, posterize, solarize, autocontrast, equalize.

    The operations and their ranges are those of torchvision's `RandAugment`; images are resampled bilinearly, and
    pixels outside are black.
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9) -> None:
        """
        Args:
            num_ops: operations for each image, one after another.
            magnitude: from 0 to 30, the largest.
        """
        self.num_ops = int(within("num_ops", num_ops, 1, 14))
        self.magnitude = within("magnitude", magnitude, 0, LEVELS)
        self.num_uniforms = 2 * self.num_ops
        self.operations = _operations(0.3, lambda side: side * 150 / 331, 30.0, 0.9, 4)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        for choice_B, sign_B in uniform_BK.view(len(uniform_BK), self.num_ops, 2).permute(1, 2, 0):
            strength_B = torch.full_like(choice_B, self.magnitude / LEVELS)
            images_BCHW = _chosen(self.operations, images_BCHW, choice_B, strength_B, sign_B)
        return images_BCHW


class TrivialAugment(Augmentation):
    """Applies one random operation of the 14 of RandAugment with a random magnitude (Müller 2021, arXiv 2103.10158), in
    the wide ranges of torchvision's `TrivialAugmentWide`."""

    num_uniforms = 3

    def __init__(self) -> None:
        self.operations = _operations(0.99, lambda side: 32.0, 135.0, 0.99, 6)

    def __call__(self, images_BCHW: Tensor, uniform_BK: Tensor, epoch: int) -> Tensor:
        choice_B, strength_B, sign_B = uniform_BK.unbind(1)
        strength_B = (strength_B * (LEVELS + 1)).floor() / LEVELS
        return _chosen(self.operations, images_BCHW, choice_B, strength_B, sign_B)


def _chosen(
    operations: list[Operation], images_BCHW: Tensor, choice_B: Tensor, strength_B: Tensor, sign_B: Tensor
) -> Tensor:
    """Applies to each image its own operation. On a GPU each step waits for the choice."""
    number_B, signs_B = (choice_B * len(operations)).long(), 1 - 2 * (sign_B < 0.5).to(images_BCHW.dtype)
    result_BCHW = images_BCHW.clone()
    for number, operation in enumerate(operations):
        rows = (number_B == number).nonzero()[:, 0]
        if number and len(rows):  # the first is the identity
            result_BCHW[rows] = operation(images_BCHW[rows], strength_B[rows], signs_B[rows]).to(images_BCHW.dtype)
    return result_BCHW
