"""Estimates with confidence intervals, and the temperature of a network.

Shapes: N samples, K classes, R resamples, M answers for each sample or different probabilities, B bins, T temperatures.
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
            float(statistic(torch.ones(1, num_samples))), *torch.cat(values[name]).float().nanquantile(ends).tolist()
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


def macro_f1(predicted_NK: Tensor, labels_NK: Tensor) -> Statistic:
    """The mean F1 score of the classes that have samples, from which classes are predicted and true (bool)."""
    of_all = [one_NK.float() for one_NK in (predicted_NK & labels_NK, predicted_NK, labels_NK)]

    def statistic(counts_RN: Tensor) -> Tensor:
        correct_RK, predicted_RK, true_RK = (counts_RN @ one_NK for one_NK in of_all)
        return (2 * correct_RK / (true_RK + predicted_RK)).where(true_RK > 0, math.nan).nanmean(1)

    return statistic


def mean_average_precision(probabilities_NK: Tensor, labels_NK: Tensor) -> Statistic:
    """The mean of the average precisions of the classes that have samples, as test/map."""

    def average_precision(counts_RN: Tensor, probabilities_N: Tensor, labels_N: Tensor) -> Tensor:
        order_N = probabilities_N.argsort(descending=True)
        ends_M = F.pad(probabilities_N[order_N].diff() != 0, (0, 1), value=True)  # of equal probabilities
        counts_RN = counts_RN[:, order_N]
        found_RM = (counts_RN * labels_N[order_N]).cumsum(1)[:, ends_M]
        precision_RM = (found_RM / counts_RN.cumsum(1)[:, ends_M]).nan_to_num(0)  # 0 / 0 before the first sample
        return (F.pad(found_RM, (1, 0)).diff() * precision_RM).sum(1) / found_RM[:, -1]

    of_classes = list(zip(probabilities_NK.unbind(1), labels_NK.unbind(1), strict=True))
    return lambda counts_RN: torch.stack([average_precision(counts_RN, *one) for one in of_classes]).nanmean(0)


def calibration_error(confidence_NM: Tensor, correct_NM: Tensor, bins: int = 15) -> Statistic:
    """The expected calibration error (Naeini et al. 2015) with bins of equal width, as test/calibration_error; of the
    M answers for each sample: one, or one for each of several classes."""
    bin_NM = (confidence_NM * bins).long().clamp(max=bins - 1)
    gaps_NB = torch.zeros(len(bin_NM), bins).scatter_add(1, bin_NM, correct_NM.float() - confidence_NM)
    return lambda counts_RN: (counts_RN @ gaps_NB).abs().sum(1) / (counts_RN.shape[1] * bin_NM.shape[1])


def fit_temperature(logits_NK: Tensor, labels_N: Tensor) -> float:
    """The temperature by which logits are divided so that their cross-entropy, or for labels (N, K) the binary one, is
    lowest (Guo et al. 2017, arXiv 1706.04599): the best of 201 between 0.1 and 10, which are 2.3 % apart."""
    loss, targets = F.cross_entropy, labels_N
    if labels_N.dim() == 2:
        loss, targets = F.binary_cross_entropy_with_logits, labels_N.float()
    temperatures_T = torch.logspace(-1, 1, 201)
    losses_T = torch.stack([loss(logits_NK / temperature, targets) for temperature in temperatures_T])
    return float(temperatures_T[losses_T.argmin()])
