"""Corrupted images."""

from __future__ import annotations

import pytest
import torch

from src.callbacks.report.corruptions import CORRUPTIONS, blur, brightness, contrast, noise, pixelate

INDICES_B = torch.tensor([4, 9])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_stay_images_and_change_more_with_the_severe_strength(name: str) -> None:
    images_BCHW = torch.rand(2, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    corrupt, mild, severe = CORRUPTIONS[name]
    changes = []
    for strength in (mild, severe):
        corrupted_BCHW = corrupt(images_BCHW, INDICES_B, 0, strength)
        assert corrupted_BCHW.shape == images_BCHW.shape
        assert corrupted_BCHW.min() >= 0 and corrupted_BCHW.max() <= 1
        changes.append(float((corrupted_BCHW - images_BCHW).abs().mean()))
    assert min(changes) > 0
    # Pixels that are not multiples of the original ones change noise as much as larger ones.
    assert changes[0] < changes[1] or name == "pixelation"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_of_one_gray_pixel_is_no_error(name: str) -> None:
    corrupt, _, severe = CORRUPTIONS[name]
    assert corrupt(torch.rand(2, 1, 1, 1), INDICES_B, 0, severe).shape == (2, 1, 1, 1)


def test_noise_depends_on_seed_and_index_alone() -> None:
    images_BCHW = torch.full((2, 3, 4, 4), 0.5)
    both = noise(images_BCHW, INDICES_B, 0, 0.1)
    assert torch.equal(both[1:], noise(images_BCHW[1:], INDICES_B[1:], 0, 0.1))
    assert not torch.equal(both, noise(images_BCHW, INDICES_B, 1, 0.1))
    assert float((both - 0.5).std()) == pytest.approx(0.1, rel=0.3)


def test_the_others_by_hand() -> None:
    image = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert brightness(image, INDICES_B, 0, 0.3).flatten().tolist() == pytest.approx([0.3, 1, 0.3, 1])
    assert contrast(image, INDICES_B, 0, 0.5).flatten().tolist() == pytest.approx([0.25, 0.75, 0.25, 0.75])
    assert pixelate(image, INDICES_B, 0, 0.5).flatten().tolist() == pytest.approx([0.5] * 4)
    flat = torch.full((1, 1, 8, 8), 0.4)
    torch.testing.assert_close(blur(flat, INDICES_B, 0, 0.1), flat)
