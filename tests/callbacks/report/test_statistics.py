"""Estimates and their intervals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from src.callbacks.report.statistics import (
    Estimate,
    bootstrap,
    calibration_error,
    fit_temperature,
    macro_f1,
    mean,
    mean_average_precision,
    wilson,
)
from src.metrics import average_precisions


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (500, 1000, 0.4691, 0.5309)],
)
def test_intervals_of_wilson(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total) == pytest.approx((correct / total, low, high), abs=1e-4)


def test_a_proportion_of_nothing_is_not_a_number() -> None:
    assert all(map(math.isnan, wilson(0, 0)))


def test_the_bootstrap_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values_N = torch.linspace(0, 1, 400)

    def interval(seed: int) -> Estimate:
        return bootstrap({"mean": mean(values_N)}, 400, seed, resamples=1000)["mean"]

    error = 1.96 * float(values_N.std()) / 20
    assert interval(0) == pytest.approx((0.5, 0.5 - error, 0.5 + error), abs=0.004)
    assert interval(0) == interval(0) != interval(1)


def test_each_resample_has_as_many_samples() -> None:
    seen: list[torch.Tensor] = []
    bootstrap({"one": lambda counts_RN: seen.append(counts_RN) or counts_RN[:, 0]}, 5, 0, resamples=20)
    assert seen[0].shape == (20, 5) and seen[0].sum(1).unique().tolist() == [5]
    assert len(seen[0].unique(dim=0)) > 10


COUNTS_RN = torch.tensor([[1.0, 1, 1, 1, 1], [2, 0, 1, 1, 1], [0, 0, 2, 3, 0]])


def test_the_f1_score_ignores_classes_without_samples() -> None:
    labels_N, predicted_N = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 3, 1])
    # As they are: class 0 has precision 1 and recall 1/2, class 1 precision 2/3 and recall 2/3.
    # With the first twice in place of the second: precision and recall 1, and precision 1 and recall 2/3.
    # Class 1 alone, with two of five right.
    expected = [(2 / 3 + 2 / 3) / 2, (1 + 4 / 5) / 2, 4 / 7]
    predicted_NK, labels_NK = (F.one_hot(one, 4).bool() for one in (predicted_N, labels_N))
    assert macro_f1(predicted_NK, labels_NK)(COUNTS_RN).tolist() == pytest.approx(expected)


def test_the_mean_average_precision_is_that_of_torchmetrics_on_each_resample() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities_NK = torch.randint(5, (40, 4), generator=generator) / 5  # of which many are equal
    labels_NK = torch.randint(2, (40, 4), generator=generator)
    labels_NK[:, 3] = 0  # counts in no mean
    rows_RN = torch.randint(40, (3, 40), generator=generator)
    expected = [float(average_precisions(probabilities_NK[rows], labels_NK[rows]).nanmean()) for rows in rows_RN]
    counts_RN = torch.stack([torch.bincount(rows, minlength=40).float() for rows in rows_RN])
    found_R = mean_average_precision(probabilities_NK, labels_NK)(counts_RN)
    assert found_R.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_is_the_gap_weighted_by_the_samples() -> None:
    confidence_N = torch.tensor([0.9, 0.9, 0.9, 0.9, 0.3])
    correct_N = torch.tensor([True, True, False, False, True])
    # Four samples: accuracy 0.5, confidence 0.9. One: accuracy 1, confidence 0.3.
    expected = [0.8 * 0.4 + 0.2 * 0.7, 0.8 * 0.4 + 0.2 * 0.7, 0.9]
    found_R = calibration_error(confidence_N[:, None], correct_N[:, None])(COUNTS_RN)
    assert found_R.tolist() == pytest.approx(expected)
    assert float(calibration_error(torch.ones(5, 1), torch.ones(5, 1).bool())(COUNTS_RN[:1])) == 0


def test_the_calibration_error_of_several_answers_is_that_of_all_of_them() -> None:
    confidence_NM, correct_NM = torch.tensor([[0.9, 0.1], [0.9, 0.3]]), torch.tensor([[1, 0], [0, 0]])
    # In their bins two answers of 0.9 with accuracy 0.5, one of 0.1 and one of 0.3 with accuracy 0.
    expected = [0.5 * 0.4 + 0.25 * 0.1 + 0.25 * 0.3, (2 * 0.1 + 2 * 0.1) / 4]
    found_R = calibration_error(confidence_NM, correct_NM)(torch.tensor([[1.0, 1], [2, 0]]))
    assert found_R.tolist() == pytest.approx(expected)


def test_the_temperature_restores_logits_that_were_scaled() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NK = torch.randn(4000, 5, generator=generator) * 2
    labels_N = logits_NK.softmax(-1).multinomial(1, generator=generator)[:, 0]
    assert fit_temperature(logits_NK, labels_N) == pytest.approx(1, rel=0.06)
    assert fit_temperature(3 * logits_NK, labels_N) == pytest.approx(3, rel=0.06)


def test_the_temperature_of_several_classes_restores_their_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_NK = torch.randn(4000, 5, generator=generator) * 2
    labels_NK = logits_NK.sigmoid().bernoulli(generator=generator).long()
    assert fit_temperature(3 * logits_NK, labels_NK) == pytest.approx(3, rel=0.06)


def test_the_temperature_of_a_perfect_network_is_finite() -> None:
    assert fit_temperature(torch.eye(3) * 50, torch.arange(3)) > 0
