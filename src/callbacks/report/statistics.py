"""Estimates with confidence intervals, and the temperature of a network.

Shapes: N samples, K classes, M bins, T temperatures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src import rng

LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


class Estimate(NamedTuple):
    """A value with its confidence interval of 95 %."""

    value: float
    low: float
    high: float


def wilson(correct: int, total: int) -> Estimate:
    """A proportion with the score interval of Wilson 1927, which also holds for few samples and near 0 and 1; NaN
    without samples."""
    if total == 0:
        return Estimate(math.nan, math.nan, math.nan)
    p, z2 = correct / total, _Z**2
    center = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    return Estimate(p, max(0.0, center - half), min(1.0, center + half))


def bootstrap(statistic: Callable[[Tensor], float], num_samples: int, seed: int, resamples: int = 500) -> Estimate:
    """A statistic of all samples with the percentile interval of Efron 1979.

    Args:
        statistic: of the samples with the given indices (N,), some of which occur more than once.
        num_samples: N.
        seed: of the resampling.
        resamples: how many.
    """
    values = torch.tensor(
        [
            statistic(torch.randint(num_samples, (num_samples,), generator=rng.generator(seed, rng.Stream.REPORT, one)))
            for one in range(resamples)
        ],
        dtype=torch.float64,
    )
    low, high = values.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)).tolist()
    return Estimate(statistic(torch.arange(num_samples)), low, high)


def macro_f1(predicted_N: Tensor, labels_N: Tensor, num_classes: int) -> float:
    """The mean F1 score of the classes that have samples."""
    correct_K, predicted_K, true_K = (
        torch.bincount(classes_N, minlength=num_classes)
        for classes_N in (labels_N[predicted_N == labels_N], predicted_N, labels_N)
    )
    return float((2 * correct_K / (true_K + predicted_K))[true_K > 0].mean())


def calibration_error(confidence_N: Tensor, correct_N: Tensor, bins: int = 15) -> float:
    """The expected calibration error (Naeini et al. 2015) with bins of equal width, as test/calibration_error."""
    bin_N = (confidence_N * bins).long().clamp(max=bins - 1)
    gap_M = torch.bincount(bin_N, weights=correct_N.double() - confidence_N.double(), minlength=bins)
    return float(gap_M.abs().sum() / len(bin_N))


def fit_temperature(logits_NK: Tensor, labels_N: Tensor) -> float:
    """The temperature by which logits are divided so that their cross-entropy is lowest (Guo et al. 2017, arXiv
    1706.04599): the best of 201 between 0.1 and 10, which are 2.3 % apart."""
    temperatures_T = torch.logspace(-1, 1, 201)
    losses_T = torch.stack([F.cross_entropy(logits_NK / temperature, labels_N) for temperature in temperatures_T])
    return float(temperatures_T[losses_T.argmin()])
