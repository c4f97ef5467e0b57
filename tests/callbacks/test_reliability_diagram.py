"""How far the probabilities of a test can be trusted."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from src.callbacks import ReliabilityDiagram
from src.callbacks.reliability_diagram import plot, reliability


def test_bins_by_hand() -> None:
    probabilities_NK = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [1.0, 0.0]])
    bins = reliability(probabilities_NK, torch.tensor([0, 1, 1, 0]), bins=4)
    assert bins.counts_M.tolist() == [0, 0, 1, 3]
    assert math.isnan(bins.accuracy_M[0])
    assert bins.accuracy_M[2:].tolist() == pytest.approx([1, 2 / 3])
    assert bins.error == pytest.approx((0.45 + abs(2 - 2.7)) / 4)


def test_bins_of_images_with_several_classes_by_hand() -> None:
    """Each probability counts: 0.1, 0.2 and 0.9 of classes that the image does not have, 0.6 of one that it has."""
    probabilities_NK = torch.tensor([[0.9, 0.1], [0.2, 0.6]])
    bins = reliability(probabilities_NK, torch.tensor([[0, 0], [0, 1]]), bins=2)
    assert (bins.counts_M.tolist(), bins.accuracy_M.tolist()) == ([2, 2], [0, 0.5])
    assert bins.error == pytest.approx((0.3 + abs(1 - 1.5)) / 4)
    top, bottom = plot(bins, multi_label=True).axes
    assert (top.get_ylabel(), bottom.get_xlabel()) == ("images that have the class", "probability")


def test_the_error_is_the_one_that_is_logged() -> None:
    probabilities_NK = torch.randn(500, 7, generator=torch.Generator().manual_seed(0)).softmax(-1)
    labels_N = torch.arange(500) % 7
    expected = multiclass_calibration_error(probabilities_NK, labels_N, num_classes=7, n_bins=15)
    assert reliability(probabilities_NK, labels_N, 15).error == pytest.approx(expected.item(), abs=1e-5)


def test_bars_are_accuracies() -> None:
    top, bottom = plot(reliability(torch.tensor([[0.9, 0.1], [0.3, 0.7]]), torch.tensor([0, 0]), 2)).axes
    assert [bar.get_height() for bar in top.patches] == [0, 0.5]  # pyright: ignore[reportAttributeAccessIssue]
    assert [bar.get_height() for bar in bottom.patches] == [0, 2]  # pyright: ignore[reportAttributeAccessIssue]


def test_no_bins() -> None:
    with pytest.raises(ValueError, match="bins 0 must be at least 1"):
        ReliabilityDiagram(bins=0)
