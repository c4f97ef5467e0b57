"""Shapes: B images, C channels, H rows, W columns, K random numbers per image."""

from __future__ import annotations

import math

import pytest
import torch

from src.data.augment import CutMix, Mix, Mixup, MixupOrCutMix
from src.data.augment.mix import _Beta, cutmix_boxes, mixup

UNIFORM_N = torch.linspace(0, 1 - 2**-24, 10001)
ONES, ZEROS = torch.ones(6, 3, 8, 10), torch.zeros(6, 3, 8, 10)


def test_weights_have_the_beta_distribution() -> None:
    torch.testing.assert_close(_Beta(1.0)(UNIFORM_N), UNIFORM_N, rtol=0, atol=1e-4)
    # The arcsine distribution.
    torch.testing.assert_close(_Beta(0.5)(UNIFORM_N), (math.pi / 2 * UNIFORM_N).sin() ** 2, rtol=0, atol=1e-4)
    # 3 x^2 - 2 x^3 is the distribution function for alpha 2.
    weight_N = _Beta(2.0)(UNIFORM_N)
    torch.testing.assert_close(3 * weight_N**2 - 2 * weight_N**3, UNIFORM_N, rtol=0, atol=2e-4)
    for alpha in (0.1, 0.2, 8.0):  # variance 1 / (4 (2 alpha + 1))
        assert _Beta(alpha)(UNIFORM_N).mean() == pytest.approx(0.5, abs=1e-3)
        assert _Beta(alpha)(UNIFORM_N).var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-2)


def test_mixup_is_a_weighted_mean() -> None:
    weight_B = torch.tensor([0.0, 0.25, 1.0])
    mixed_BCHW = mixup(torch.full((3, 1, 1, 2), 0.8), torch.full((3, 1, 1, 2), 0.4), weight_B)
    torch.testing.assert_close(mixed_BCHW[:, 0, 0, 0], torch.tensor([0.4, 0.5, 0.8]))


def test_the_weight_is_the_fraction_of_the_pixels_that_are_the_images_own() -> None:
    uniform_BK = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    for mix in (Mixup(1.0), CutMix(), MixupOrCutMix(1.0, 1.0)):
        mixed_BCHW, weight_B = mix(ONES, ZEROS, uniform_BK[:, : mix.num_uniforms])
        torch.testing.assert_close(mixed_BCHW.mean((1, 2, 3)), weight_B)
        assert weight_B.unique().numel() > 3


def test_cutmix_cuts_a_rectangle_around_a_pixel() -> None:
    boxes = cutmix_boxes(torch.tensor([0.75, 0.75, 1.0]), torch.tensor([4, 0, 4]), torch.tensor([5, 9, 5]), 8, 10)
    assert [value.tolist() for value in boxes] == [[2, 0, 4], [3, 7, 5], [4, 2, 0], [4, 3, 0]]


def test_the_probability_is_that_of_being_mixed() -> None:
    uniform_BK = torch.full((6, 4), 0.5)
    for mix in (Mixup(1.0, probability=0.5), CutMix(probability=0.5)):
        mixed_BCHW, weight_B = mix(ONES, ZEROS, uniform_BK[:, : mix.num_uniforms])
        assert torch.equal(mixed_BCHW, ONES) and (weight_B == 1).all()


@pytest.mark.parametrize("mix", [Mixup(), CutMix(), MixupOrCutMix()])
def test_an_image_does_not_depend_on_its_batch(mix: Mix) -> None:
    uniform_BK = torch.rand(6, mix.num_uniforms, generator=torch.Generator().manual_seed(2))
    images_BCHW, partners_BCHW = torch.rand(2, 6, 3, 8, 10, generator=torch.Generator().manual_seed(3)).unbind(0)
    together, weight_B = mix(images_BCHW, partners_BCHW, uniform_BK)
    for k in range(6):
        one = slice(k, k + 1)
        alone, weight = mix(images_BCHW[one], partners_BCHW[one], uniform_BK[one])
        assert torch.equal(alone[0], together[k]) and weight[0] == weight_B[k]
    none, _ = mix(images_BCHW[:0], partners_BCHW[:0], uniform_BK[:0])
    assert none.shape == (0, 3, 8, 10)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"alpha 0 is outside \[0\.01, 100\]"):
        Mixup(0)
    with pytest.raises(ValueError, match="cutmix_probability 2"):
        MixupOrCutMix(cutmix_probability=2)
