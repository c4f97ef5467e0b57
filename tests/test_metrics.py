"""Metrics of images that can have several classes."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.classification import MultilabelConfusionMatrix, MultilabelF1Score

from src.metrics import NUM_THRESHOLDS, MeanAveragePrecision, at_all_thresholds, best_threshold, f1_scores

# In the order of the probabilities of the first class, its images are at places 1 and 3; no image has the second class.
PROBABILITIES_NK = torch.tensor([[0.9, 0.9], [0.8, 0.1], [0.7, 0.2], [0.1, 0.3]])
TARGETS_NK = torch.tensor([[1, 0], [0, 0], [1, 0], [0, 0]])


def test_the_mean_average_precision_leaves_out_classes_without_samples() -> None:
    metric = MeanAveragePrecision(2)
    metric.update(PROBABILITIES_NK, TARGETS_NK)
    assert float(metric.compute()) == pytest.approx((1 + 2 / 3) / 2)


def test_no_sample_with_a_class_has_no_average_precision() -> None:
    metric = MeanAveragePrecision(2)
    metric.update(PROBABILITIES_NK, torch.zeros_like(TARGETS_NK))
    assert math.isnan(metric.compute())


def test_an_empty_batch_changes_nothing() -> None:
    metric = MeanAveragePrecision(2)
    metric.update(PROBABILITIES_NK, TARGETS_NK)
    metric.update(PROBABILITIES_NK[:0], TARGETS_NK[:0])
    assert float(metric.compute()) == pytest.approx((1 + 2 / 3) / 2)


def test_f1_scores_at_all_thresholds_are_those_of_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    # Multiples of 0.01, which are equal to thresholds.
    probabilities_NK = torch.randint(101, (60, 3), generator=generator) / 100
    targets_NK = torch.randint(2, (60, 3), generator=generator)
    confusion = MultilabelConfusionMatrix(3 * NUM_THRESHOLDS)
    for batch in (slice(25), slice(25, None)):
        confusion.update(*at_all_thresholds(probabilities_NK[batch], targets_NK[batch]))
    f1_TK = f1_scores(confusion.compute().unflatten(0, (NUM_THRESHOLDS, 3)))
    for place, f1_K in enumerate(f1_TK):
        expected = MultilabelF1Score(3, average=None)
        expected.update((probabilities_NK >= (place + 1) / 100).int(), targets_NK)
        torch.testing.assert_close(f1_K, expected.compute())


def test_a_class_without_samples_has_no_f1_score() -> None:
    confusion = MultilabelConfusionMatrix(2)
    confusion.update((PROBABILITIES_NK >= 0.5).int(), TARGETS_NK)
    torch.testing.assert_close(f1_scores(confusion.compute()), torch.tensor([0.8, math.nan]), equal_nan=True)


@pytest.mark.parametrize(
    ("best", "expected"), [([0.2], 0.2), ([0.1, 0.2, 0.45, 0.9], 0.45), ([0.48, 0.52], 0.48), ([], 0.5)]
)
def test_the_best_threshold_is_the_one_closest_to_half_of_equals(best: list[float], expected: float) -> None:
    f1_T = torch.full((NUM_THRESHOLDS,), 0.3 if best else math.nan)
    for threshold in best:
        f1_T[round(100 * threshold) - 1] = 0.9
    assert best_threshold(f1_T) == expected
