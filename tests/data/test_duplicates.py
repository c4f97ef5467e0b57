"""Duplicates and near-duplicates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from src.data import CIFAR10
from src.data.duplicates import find_duplicates


def smooth_images(n: int, seed: int) -> Tensor:
    """Random images of 32 x 32 pixels with the detail of 8 x 8."""
    small_NCHW = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    large_NCHW = functional.interpolate(small_NCHW, (32, 32), mode="bicubic", align_corners=False)
    return (255 * large_NCHW.clamp(0, 1)).to(torch.uint8).permute(0, 2, 3, 1)


def test_equal_and_similar_images_are_found_across_sets() -> None:
    train, test = smooth_images(300, 0), smooth_images(50, 1)
    train[7] = train[3]
    test[5] = train[3]
    darker = (train[11].float() * 0.8 + 10).to(torch.uint8)
    test[6] = darker
    test[7] = (train[12].float() + 6 * torch.randn(32, 32, 3, generator=torch.Generator().manual_seed(2))).clamp(0, 255)
    pairs_P2, is_exact_P = find_duplicates([train, test])
    found = dict(zip(map(tuple, pairs_P2.tolist()), is_exact_P.tolist(), strict=True))
    assert found == {(3, 7): True, (3, 305): True, (11, 306): False, (12, 307): False}


def test_images_of_one_color_are_equal_or_not_alike() -> None:
    images = torch.tensor([10, 10, 200], dtype=torch.uint8)[:, None, None, None].expand(3, 20, 20, 1)
    pairs_P2, is_exact_P = find_duplicates([images])
    assert (pairs_P2.tolist(), is_exact_P.tolist()) == ([[0, 1]], [True])
    assert len(find_duplicates([images[:1]]).pairs_P2) == 0


def test_cifar10_has_the_known_duplicates(cifar10_dir: Path) -> None:
    """Barz and Denzler (2020, *Do we train on test data?*) list 286 test images with a near-duplicate in the training
    set, found by the features of a network; four of their nearest pairs are these. No two images are equal."""
    data = CIFAR10(data_dir=str(cifar10_dir))
    pairs_P2, is_exact_P = find_duplicates([data.image_set(subset).images_NHWC for subset in ("train", "test")])
    found = set(map(tuple, pairs_P2.tolist()))
    assert not is_exact_P.any()
    test = {b - 50_000 for a, b in found if a < 50_000 <= b}
    assert len(test) == pytest.approx(206, abs=5)
    assert {(49007, 56611), (25768, 50159)} <= found
