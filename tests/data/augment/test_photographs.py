"""The augmentations for photographs against torchvision's operations on one image with the same parameters.

Shapes: B images, C channels, H rows, W columns, K random numbers per image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from src.data.augment import ColorJitter, RandAugment, RandomErasing, RandomResizedCrop, TrivialAugment, color
from src.data.augment.boxes import ATTEMPTS, NUM_UNIFORMS, Boxes, random_boxes
from src.data.augment.policies import _chosen
from src.data.augment.random_resized_crop import resized_crop

IMAGES_BCHW = torch.randint(0, 256, (5, 3, 17, 20), generator=torch.Generator().manual_seed(0)) / 255
BILINEAR: dict[str, Any] = {"interpolation": InterpolationMode.BILINEAR}  # without fill: black, as here


def same(actual_BCHW: Tensor, expected: Callable[[Tensor, int], Tensor], atol: float = 2e-5) -> None:
    for number, image_CHW in enumerate(IMAGES_BCHW):
        torch.testing.assert_close(actual_BCHW[number], expected(image_CHW, number), rtol=0, atol=atol)


FACTORS_B = torch.tensor([0.0, 0.3, 1.0, 1.4, 1.9])


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "sharpness"])
def test_adjustments(name: str) -> None:
    adjusted_BCHW = getattr(color, f"adjust_{name}")(IMAGES_BCHW, FACTORS_B)
    same(adjusted_BCHW, lambda image, k: getattr(TF, f"adjust_{name}")(image, float(FACTORS_B[k])))
    gray_BCHW = color.gray(IMAGES_BCHW)
    expected = [getattr(TF, f"adjust_{name}")(gray_BCHW[k], float(FACTORS_B[k])) for k in range(5)]
    torch.testing.assert_close(
        getattr(color, f"adjust_{name}")(gray_BCHW, FACTORS_B), torch.stack(expected), rtol=0, atol=2e-5
    )


def test_hue() -> None:
    turns_B = torch.tensor([-0.5, -0.2, 0.0, 0.1, 0.5])
    same(color.adjust_hue(IMAGES_BCHW, turns_B), lambda image, k: TF.adjust_hue(image, float(turns_B[k])), atol=1e-4)
    primary = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])[:, :, None, None]
    turned = color.adjust_hue(primary, torch.full((5,), 1 / 3))
    expected = torch.tensor([[0, 1.0, 0], [0, 1, 1], [0, 0, 1], [1, 0, 0], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(turned[:, :, 0, 0], expected, rtol=0, atol=1e-5)


def test_pointwise_operations() -> None:
    bits_B = torch.tensor([2.0, 4, 5, 7, 8])
    same(color.posterize(IMAGES_BCHW, bits_B), lambda image, k: TF.posterize(image, int(bits_B[k])))
    levels_B = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    same(color.solarize(IMAGES_BCHW, levels_B), lambda image, k: TF.solarize(image, float(levels_B[k])))
    same(color.autocontrast(IMAGES_BCHW * 0.4 + 0.3)[:1].expand(5, -1, -1, -1), lambda i, k: _stretched())
    for images_BCHW in (IMAGES_BCHW, IMAGES_BCHW**3, torch.ones(5, 3, 4, 4) * 0.2, (IMAGES_BCHW * 3).floor() / 3):
        expected = torch.stack([TF.equalize(image) for image in images_BCHW])
        torch.testing.assert_close(color.equalize(images_BCHW), expected, rtol=0, atol=2e-5)


def _stretched() -> Tensor:
    return TF.autocontrast(IMAGES_BCHW[0] * 0.4 + 0.3)


def geometric(name: str, value: float) -> Callable[[Tensor], Tensor]:
    shear = math.degrees(math.atan(value))
    given: dict[str, Any] = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    if name == "ShearX":
        given |= {"shear": [shear, 0.0], "center": [0.0, 0.0]}
    elif name == "ShearY":
        given |= {"shear": [0.0, shear], "center": [0.0, 0.0]}
    elif name == "TranslateX":
        given |= {"translate": [int(value), 0]}
    elif name == "TranslateY":
        given |= {"translate": [0, int(value)]}
    else:
        return lambda image: TF.rotate(image, value, **BILINEAR)
    return lambda image: TF.affine(image, **given, **BILINEAR)


POLICIES = {
    "RandAugment": (RandAugment(magnitude=18), 18 / 30, (0.3, 0.3, 20 * 150 / 331, 17 * 150 / 331, 30.0), 0.9, 4),
    "TrivialAugment": (TrivialAugment(), 12 / 30, (0.99, 0.99, 32.0, 32.0, 135.0), 0.99, 6),
}
NAMES = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sign", [1, -1])
def test_operations_of_the_policies(policy: str, sign: int) -> None:
    augmentation, strength, largest, enhance, bits = POLICIES[policy]
    factor = 1 + sign * enhance * strength
    expected: list[Callable[[Tensor], Tensor]] = [
        lambda image: image,
        *(geometric(name, sign * strength * value) for name, value in zip(NAMES, largest, strict=True)),
        lambda image: TF.adjust_brightness(image, factor),
        lambda image: TF.adjust_saturation(image, factor),
        lambda image: TF.adjust_contrast(image, factor),
        lambda image: TF.adjust_sharpness(image, factor),
        lambda image: TF.posterize(image, round(8 - bits * strength)),
        lambda image: TF.solarize(image, 1 - strength),
        TF.autocontrast,
        TF.equalize,
    ]
    assert len(expected) == len(augmentation.operations)
    for number, operation in enumerate(expected):
        choice_B = torch.full((5,), (number + 0.5) / 14)
        sign_B = torch.full((5,), 0.9 if sign > 0 else 0.1)
        if policy == "TrivialAugment":
            uniform_BK = torch.stack([choice_B, torch.full((5,), (12 + 0.5) / 31), sign_B], 1)
            actual_BCHW = augmentation(IMAGES_BCHW, uniform_BK, 0)
        else:
            actual_BCHW = _chosen(augmentation.operations, IMAGES_BCHW, choice_B, torch.full((5,), strength), sign_B)
        same(actual_BCHW, lambda image, k, operation=operation: operation(image), atol=1e-4)


def test_rand_augment_applies_its_operations_one_after_another() -> None:
    uniform_BK = torch.tensor([[(6 + 0.5) / 14, 0.9, (12 + 0.5) / 14, 0.1]]).expand(5, -1)
    expected = lambda image, k: TF.autocontrast(TF.adjust_brightness(image, 1 + 0.9 * 0.3))  # noqa: E731
    same(RandAugment(2, 9)(IMAGES_BCHW, uniform_BK, 0), expected, atol=1e-4)


def test_color_jitter() -> None:
    uniform_BK = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    jitter = ColorJitter(0.4, 0.3, 0.2, 0.1)

    def expected(image: Tensor, k: int) -> Tensor:
        b, c, s, h = uniform_BK[k].tolist()
        image = TF.adjust_contrast(TF.adjust_brightness(image, 0.6 + 0.8 * b), 0.7 + 0.6 * c)
        return TF.adjust_hue(TF.adjust_saturation(image, 0.8 + 0.4 * s), -0.1 + 0.2 * h)

    same(jitter(IMAGES_BCHW, uniform_BK, 0), expected, atol=1e-4)


@pytest.mark.parametrize("size", [4, 8, 30])
def test_resized_crops(size: int) -> None:
    boxes = Boxes(
        *(torch.tensor(v) for v in ([0, 3, 5, 16, 0], [0, 2, 19, 0, 4], [17, 9, 12, 1, 8], [20, 7, 1, 20, 8]))
    )
    actual_BCHW = resized_crop(IMAGES_BCHW, boxes, size)
    corners = [[int(value[k]) for value in boxes] for k in range(5)]
    same(actual_BCHW, lambda image, k: TF.resized_crop(image, *corners[k], size=[size, size], antialias=True))


def test_random_resized_crop_samples_area_and_ratio() -> None:
    uniform_BK = torch.rand(4000, NUM_UNIFORMS, generator=torch.Generator().manual_seed(0))
    top_B, left_B, height_B, width_B = random_boxes(uniform_BK, 100, 120, (0.2, 0.6), (0.5, 2.0))
    assert top_B.min() == 0 and left_B.min() == 0
    assert (top_B + height_B).max() == 100 and (left_B + width_B).max() == 120
    area_B = height_B * width_B / 12000
    assert 0.19 < area_B.min() < 0.21 and 0.58 < area_B.max() < 0.61
    ratio_B = width_B / height_B
    assert 0.48 < ratio_B.min() < 0.53 and 1.9 < ratio_B.max() < 2.06
    assert abs(float(ratio_B.log().mean())) < 0.05


def test_a_box_that_fits_in_no_attempt_is_the_entire_image() -> None:
    uniform_BK = torch.zeros(2, NUM_UNIFORMS)
    uniform_BK[1, ATTEMPTS - 1] = 0.999  # the last attempt: nine times too wide or not
    boxes = random_boxes(uniform_BK, 10, 10, (1.0, 1.0), (2.0, 2.0))
    assert [value.tolist() for value in boxes] == [[0, 0], [0, 0], [10, 10], [10, 10]]


def test_random_resized_crop_flips_and_has_its_size() -> None:
    uniform_BK = torch.rand(1, NUM_UNIFORMS + 1, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    uniform_BK[:, -1] = torch.tensor([0.4, 0.6])
    flipped, plain = RandomResizedCrop(8)(IMAGES_BCHW[:1].repeat(2, 1, 1, 1), uniform_BK, 0)
    assert plain.shape == (3, 8, 8) and torch.equal(flipped, plain.flip(-1))


def test_random_erasing() -> None:
    uniform_BK = torch.rand(5, NUM_UNIFORMS + 1, generator=torch.Generator().manual_seed(0))
    uniform_BK[:, -1] = torch.tensor([0.1, 0.2, 0.9, 0.1, 0.3])
    corners = random_boxes(uniform_BK[:, :-1], 17, 20, (0.02, 0.33), (0.3, 3.3))

    def expected(image: Tensor, k: int) -> Tensor:
        box = [int(value[k]) for value in corners]
        return image if k == 2 else TF.erase(image, *box, v=torch.tensor(0.5))

    same(RandomErasing()(IMAGES_BCHW, uniform_BK, 0), expected, atol=0)
