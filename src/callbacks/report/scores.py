"""The figures of a test: overall, by class, by pair of classes and by group.

Shapes: N samples, K classes, M answers for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from src.callbacks.class_scores import counts_of_classes
from src.callbacks.report.statistics import (
    Estimate,
    bootstrap,
    calibration_error,
    macro_f1,
    mean,
    mean_average_precision,
    wilson,
)
from src.callbacks.test_samples import TestSamples
from src.metrics import average_precisions

ACCURACY, AVERAGE_PRECISION = "accuracy", "mean average precision"


class ClassScores(NamedTuple):
    """A class of a test; NaN where it has no samples or is never predicted."""

    name: str
    samples: int
    recall: Estimate  # the accuracy of the samples of this class
    precision: Estimate
    f1: float
    average_precision: float  # NaN if an image has one class
    missed: int  # samples of this class that are not predicted to have it
    false: int  # samples without it that are


class Pair(NamedTuple):
    """How often one class is predicted for another; where an image can have several, how often it is predicted wrongly
    where the other is missed."""

    true: str
    predicted: str
    samples: int
    fraction: float  # of the samples of the true class


class GroupScores(NamedTuple):
    """A group of samples."""

    name: str
    samples: int
    accuracy: Estimate
    loss: float


def _of_classes(samples: TestSamples) -> tuple[Tensor, Tensor]:
    """Which classes are predicted and which are true, bool (N, K)."""
    both = samples.predicted_N, samples.labels_N
    predicted_NK, labels_NK = (
        both if samples.multi_label else (F.one_hot(one, samples.logits_NK.shape[1]) for one in both)
    )
    return predicted_NK.bool(), labels_NK.bool()


def main_score(samples: TestSamples, seed: int) -> dict[str, Estimate]:
    """The accuracy with Wilson's interval; where an image can have several classes, the mean average precision with a
    bootstrap interval."""
    number = len(samples.labels_N)
    if samples.multi_label:
        statistic = mean_average_precision(samples.probabilities_NK, samples.labels_N)
        return bootstrap({AVERAGE_PRECISION: statistic}, number, seed)
    return {ACCURACY: wilson(int(samples.correct_N.sum()), number)}


def overall(samples: TestSamples, seed: int) -> dict[str, Estimate]:
    """Accuracies with Wilson's interval, and the mean loss, the macro F1 score, the expected calibration error and the
    mean average precision with bootstrap intervals."""
    labels_N, number = samples.labels_N, len(samples.labels_N)
    found = main_score(samples, seed) | {ACCURACY: wilson(int(samples.correct_N.sum()), number)}
    confidence_NM, correct_NM = samples.probabilities_NK, labels_N
    if not samples.multi_label:
        confidence_NM, correct_NM = confidence_NM.amax(1, keepdim=True), samples.correct_N[:, None]
        if samples.logits_NK.shape[1] > 5:
            top5_N5 = samples.logits_NK.topk(5).indices
            found["top-5 accuracy"] = wilson(int((top5_N5 == labels_N[:, None]).sum()), number)
    statistics = {
        "F1 score, mean of the classes": macro_f1(*_of_classes(samples)),
        "loss": mean(samples.losses_N),
        "expected calibration error": calibration_error(confidence_NM, correct_NM),
    }
    return found | bootstrap(statistics, number, seed)


def by_class(samples: TestSamples, names: Sequence[str]) -> list[ClassScores]:
    """The class with the lowest recall, or where an image can have several classes the lowest F1 score, first; classes
    without samples last."""
    counts = counts_of_classes(samples.predicted_N, samples.labels_N, len(names))
    average_K = torch.full((len(names),), math.nan)
    if samples.multi_label:
        average_K = average_precisions(samples.probabilities_NK, samples.labels_N)
    scores = [
        ClassScores(
            name,
            true,
            recall=wilson(correct, true),
            precision=wilson(correct, predicted),
            f1=2 * correct / (predicted + true) if true else math.nan,
            average_precision=average,
            missed=true - correct,
            false=predicted - correct,
        )
        for name, average, correct, predicted, true in zip(
            names, average_K.tolist(), *(one_K.tolist() for one_K in counts), strict=True
        )
    ]
    score = (lambda one: one.f1) if samples.multi_label else (lambda one: one.recall.value)
    return sorted(scores, key=lambda one: score(one) if one.samples else 2)


def confused_pairs(samples: TestSamples, names: Sequence[str], count: int) -> list[Pair]:
    """The most frequent mistakes."""
    predicted_NK, labels_NK = _of_classes(samples)
    missed_NK, false_NK = (labels_NK & ~predicted_NK).float(), (predicted_NK & ~labels_NK).float()
    counts_KK, true_K = (missed_NK.T @ false_NK).long(), labels_NK.sum(0)
    order_P = counts_KK.flatten().argsort(descending=True, stable=True)[:count]
    codes: list[int] = order_P.tolist()
    places = (divmod(code, len(names)) for code in codes)
    return [
        Pair(names[true], names[predicted], number, number / int(true_K[true]))
        for true, predicted in places
        if (number := int(counts_KK[true, predicted]))
    ]


def by_group(samples: TestSamples, groups: Mapping[int, str]) -> list[GroupScores]:
    """The group with the lowest accuracy first; without the samples that are in no group."""
    rows: dict[str, list[int]] = {}
    for row, index in enumerate(samples.indices_N.tolist()):
        if index in groups:
            rows.setdefault(groups[index], []).append(row)
    groups_of = {name: samples.rows(torch.tensor(one)) for name, one in sorted(rows.items())}
    scores = [
        GroupScores(
            name, len(one.labels_N), wilson(int(one.correct_N.sum()), len(one.labels_N)), float(one.losses_N.mean())
        )
        for name, one in groups_of.items()
    ]
    return sorted(scores, key=lambda one: one.accuracy.value)
