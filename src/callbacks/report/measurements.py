"""What needs the network again: calibration by temperature, and robustness.

Shapes: N images, K classes.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from src import rng
from src.callbacks.reliability_diagram import reliability
from src.callbacks.report.corruptions import CORRUPTIONS
from src.callbacks.report.network import NetworkOnImages
from src.callbacks.report.scores import main_score
from src.callbacks.report.statistics import Estimate, fit_temperature
from src.callbacks.test_samples import TestSamples
from src.data import ImageDataModule


class Calibration(NamedTuple):
    """The expected calibration error of the test before and after temperature scaling."""

    temperature: float
    images: int  # of the validation set, on which it was fitted
    before: float
    after: float


class Robustness(NamedTuple):
    """The main score of a test with one corruption, and with a stronger one of its kind."""

    name: str
    mild: Estimate
    severe: Estimate


def subset(indices_N: Tensor, count: int, seed: int, purpose: int) -> Tensor:
    """At most `count` of some indices, in increasing order; the same in each report of a seed."""
    order_N = rng.permutation(len(indices_N), seed, rng.Stream.REPORT, purpose)
    return indices_N[order_N[:count].sort().values]


def scaled(samples: TestSamples, temperature: float) -> TestSamples:
    """With logits divided by a temperature."""
    return samples._replace(logits_NK=samples.logits_NK / temperature)


def calibrate(network: NetworkOnImages, data: ImageDataModule, samples: TestSamples, count: int) -> Calibration | None:
    """Fits a temperature on at most `count` validation images; None if there are none."""
    if not hasattr(data, "val_indices"):
        data.setup("validate")
    indices_N = subset(data.val_indices, count, data.seed, -1)
    if not len(indices_N):
        return None
    labels_N = data.image_set("train").labels_N.cpu()[indices_N]
    temperature = fit_temperature(network.logits("train", indices_N), labels_N)
    before, after = (
        reliability(scaled(samples, divisor).probabilities_NK, samples.labels_N, 15).error
        for divisor in (1.0, temperature)
    )
    return Calibration(temperature, len(indices_N), before, after)


def robustness(network: NetworkOnImages, samples: TestSamples, seed: int, count: int) -> list[Robustness]:
    """The main score on at most `count` test images: first as they are, then with each corruption."""
    samples = samples.rows(subset(torch.arange(len(samples.labels_N)), count, seed, -2))

    def score(logits_NK: Tensor) -> Estimate:
        (found,) = main_score(samples._replace(logits_NK=logits_NK), seed).values()
        return found

    clean = score(samples.logits_NK)
    found = [Robustness("none", clean, clean)]
    for name, (corrupt, *strengths) in CORRUPTIONS.items():
        mild, severe = (
            score(network.logits("test", samples.indices_N, partial(corrupt, seed=seed, strength=strength)))
            for strength in strengths
        )
        found.append(Robustness(name, mild, severe))
    return found
