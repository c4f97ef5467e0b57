"""What several runs say together: intervals of means, and paired tests.

Sources: Student 1908 (interval of a mean), Nadeau and Bengio 2003 (variance over folds), McNemar 1947 (exact form).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.95


class Summary(NamedTuple):
    """Mean and standard deviation (of the sample, with n - 1) of n values, and the interval of 95 % of the mean; NaN
    where one value has no spread."""

    n: int
    mean: float
    std: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def mean_std(self) -> str:
        return f"{self.mean:.4f}" + ("" if math.isnan(self.std) else f" ± {self.std:.4f}")

    def as_json(self) -> dict[str, float | None]:
        """null in place of NaN, which JSON has not."""
        return {name: None if math.isnan(value) else value for name, value in self._asdict().items()}


def summarize(values: Sequence[float], folds: bool = False) -> Summary:
    """The interval of t. The folds of one cross-validation share training samples: the variance of the mean of k folds
    is 1/k + 1/(k - 1) of that of one, and not 1/k (Nadeau and Bengio 2003)."""
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Summary(n, mean, std=math.nan, low=math.nan, high=math.nan)
    std = statistics.stdev(values)
    half = t_quantile(n - 1) * std * math.sqrt(1 / n + (1 / (n - 1) if folds else 0))
    return Summary(n, mean, std, mean - half, mean + half)


def seeds_needed(differences: Sequence[float]) -> int | None:
    """How many seeds an interval without zero would need, if mean and standard deviation stayed as they are; None if
    more than a thousand."""
    summary = summarize(differences)
    enough = (n for n in range(2, 1001) if t_quantile(n - 1) * summary.std < abs(summary.mean) * n**0.5)
    return next(enough, None)


def t_quantile(degrees: int) -> float:
    """The t within which, to both sides of 0, 95 % of Student's distribution lie."""
    low, high = 0.0, math.pi / 2  # of the arctangent of t / sqrt(degrees)
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if _fraction_within(angle, degrees) < LEVEL else (low, angle)
    return math.sqrt(degrees) * math.tan(low)


def _fraction_within(angle: float, degrees: int) -> float:
    """Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    odd, cos, sin = degrees % 2, math.cos(angle), math.sin(angle)
    term, total = cos if odd else 1.0, 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cos**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sin * total) if odd else sin * total


class McNemar(NamedTuple):
    """How many samples only the first, and only the second of two classifies correctly, and the probability of counts
    at least as different if both were equally good."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compares two classifiers, by whether each is right on the same samples, by the exact test."""
    pairs = list(zip(first, second, strict=True))
    b, c = pairs.count((True, False)), pairs.count((False, True))
    n, tail = b + c, 0
    ways = 1  # to choose k of n
    for k in range(min(b, c) + 1):
        tail += ways
        ways = ways * (n - k) // (k + 1)
    return McNemar(b, c, min(1.0, 2 * tail / 2**n))
