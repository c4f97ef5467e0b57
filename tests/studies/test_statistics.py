"""Intervals and paired tests."""

from __future__ import annotations

import math

import pytest

from src.studies.statistics import mcnemar, seeds_needed, summarize, t_quantile


@pytest.mark.parametrize(
    ("degrees", "quantile"),  # of the tables in every textbook, for 97.5 %
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (29, 2.045), (999, 1.962)],
)
def test_quantiles_of_t(degrees: int, quantile: float) -> None:
    assert t_quantile(degrees) == pytest.approx(quantile, abs=5e-4)


def test_the_interval_of_a_mean() -> None:
    found = summarize([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.std) == (3, 2.0, 1.0)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-4)
    assert not found.excludes_zero and summarize([2.0, 2.1, 2.2]).excludes_zero


def test_the_folds_of_one_cross_validation_have_a_wider_interval() -> None:
    seeds, folds = summarize([1.0, 2.0, 3.0, 4.0, 5.0]), summarize([1.0, 2.0, 3.0, 4.0, 5.0], folds=True)
    assert (folds.high - folds.low) / (seeds.high - seeds.low) == pytest.approx(math.sqrt((1 / 5 + 1 / 4) * 5))


def test_one_value_has_no_interval() -> None:
    found = summarize([0.5])
    assert found.mean == 0.5 and math.isnan(found.std) and math.isnan(found.low) and not found.excludes_zero


def test_how_many_seeds_would_be_needed() -> None:
    # Mean 1, std 1: 2.571 / sqrt(6) is 1.05, 2.447 / sqrt(7) is 0.92.
    assert seeds_needed([0.0, 1.0, 2.0]) == 7
    assert seeds_needed([-1.0, 1.0, 0.001]) is None


def test_mcnemar_is_the_sign_test_of_the_samples_that_differ() -> None:
    first = [True] * 6 + [False] * 1 + [True] * 5
    second = [False] * 6 + [True] * 1 + [True] * 5
    found = mcnemar(first, second)
    # 6 against 1 of 7 fair coins: 2 * (1 + 7) / 128.
    assert (found.only_first, found.only_second, found.p) == (6, 1, pytest.approx(0.125))
    assert mcnemar(second, first).p == found.p
    assert mcnemar(first, first) == (0, 0, 1.0)
    assert mcnemar([True, False], [False, True]).p == 1.0
    assert 0 < mcnemar([True] * 5000 + [False] * 4000, [False] * 5000 + [True] * 4000).p < 1e-20
