"""Estimates with confidence intervals, and the temperature of a network.

Shapes: N samples, K classes, R resamples, T temperatures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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


# How often each sample occurs in each of several resamples, float32 (R, N), to a value for each of them, (R,).
Statistic = Callable[[Tensor], Tensor]


def bootstrap(
    statistics: Mapping[str, Statistic], num_samples: int, seed: int, resamples: int = 500
) -> dict[str, Estimate]:
    """Statistics of all samples with the percentile interval of Efron 1979.

    Args:
        statistics: by their names.
        num_samples: N.
        seed: of the resampling.
        resamples: how many.
    """
    values: dict[str, list[Tensor]] = {name: [] for name in statistics}
    for numbers in torch.arange(resamples).split(max(1, 10**7 // num_samples)):  # 40 MB at a time
        counts_RN = torch.stack([_resample(num_samples, seed, int(number)) for number in numbers])
        for name, statistic in statistics.items():
            values[name].append(statistic(counts_RN))
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        name: Estimate(
            float(statistic(torch.ones(1, num_samples))), *torch.cat(values[name]).float().quantile(ends).tolist()
        )
        for name, statistic in statistics.items()
    }


def _resample(num_samples: int, seed: int, number: int) -> Tensor:
    generator = rng.generator(seed, rng.Stream.REPORT, number)
    indices_N = torch.randint(num_samples, (num_samples,), generator=generator)
    return torch.bincount(indices_N, minlength=num_samples).float()


def mean(values_N: Tensor) -> Statistic:
    """The mean."""
    return lambda counts_RN: counts_RN @ values_N / counts_RN.shape[1]


def macro_f1(predicted_N: Tensor, labels_N: Tensor, num_classes: int) -> Statistic:
    """The mean F1 score of the classes that have samples."""

    def statistic(counts_RN: Tensor) -> Tensor:
        correct_RK = _sums(counts_RN * (predicted_N == labels_N), labels_N, num_classes)
        true_RK, predicted_RK = (_sums(counts_RN, classes_N, num_classes) for classes_N in (labels_N, predicted_N))
        return (2 * correct_RK / (true_RK + predicted_RK)).where(true_RK > 0, math.nan).nanmean(1)

    return statistic


def calibration_error(confidence_N: Tensor, correct_N: Tensor, bins: int = 15) -> Statistic:
    """The expected calibration error (Naeini et al. 2015) with bins of equal width, as test/calibration_error."""
    bin_N = (confidence_N * bins).long().clamp(max=bins - 1)
    gap_N = correct_N.float() - confidence_N
    return lambda counts_RN: _sums(counts_RN * gap_N, bin_N, bins).abs().sum(1) / counts_RN.shape[1]


def _sums(values_RN: Tensor, places_N: Tensor, size: int) -> Tensor:
    return values_RN.new_zeros(len(values_RN), size).index_add(1, places_N, values_RN)


def fit_temperature(logits_NK: Tensor, labels_N: Tensor) -> float:
    """The temperature by which logits are divided so that their cross-entropy is lowest (Guo et al. 2017, arXiv
    1706.04599): the best of 201 between 0.1 and 10, which are 2.3 % apart."""
    temperatures_T = torch.logspace(-1, 1, 201)
    losses_T = torch.stack([F.cross_entropy(logits_NK / temperature, labels_N) for temperature in temperatures_T])
    return float(temperatures_T[losses_T.argmin()])
