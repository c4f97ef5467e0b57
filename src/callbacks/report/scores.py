"""The figures of a test: overall, by class, by pair of classes and by group.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from src.callbacks.class_scores import counts_of_classes
from src.callbacks.report.statistics import Estimate, bootstrap, calibration_error, macro_f1, mean, wilson
from src.callbacks.test_samples import TestSamples


class ClassScores(NamedTuple):
    """A class of a test; NaN where it has no samples or is never predicted."""

    name: str
    samples: int
    recall: Estimate  # the accuracy of the samples of this class
    precision: Estimate


class Pair(NamedTuple):
    """How often one class is predicted for another."""

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


def overall(samples: TestSamples, seed: int) -> dict[str, Estimate]:
    """Accuracies with Wilson's interval, and the mean loss, the macro F1 score and the expected calibration error with
    bootstrap intervals."""
    labels_N, losses_N, num_classes = samples.labels_N, samples.losses_N, samples.logits_NK.shape[1]
    confidence_N, predicted_N = samples.logits_NK.softmax(-1).max(-1)
    correct_N = predicted_N == labels_N
    found = {"accuracy": wilson(int(correct_N.sum()), len(labels_N))}
    if num_classes > 5:
        top5_N5 = samples.logits_NK.topk(5).indices
        found["top-5 accuracy"] = wilson(int((top5_N5 == labels_N[:, None]).sum()), len(labels_N))
    statistics = {
        "F1 score, mean of the classes": macro_f1(predicted_N, labels_N, num_classes),
        "loss": mean(losses_N),
        "expected calibration error": calibration_error(confidence_N, correct_N),
    }
    return found | bootstrap(statistics, len(labels_N), seed)


def by_class(samples: TestSamples, names: Sequence[str]) -> list[ClassScores]:
    """The class with the lowest recall first, classes without samples last."""
    counts = counts_of_classes(samples.predicted_N, samples.labels_N, len(names))
    scores = [
        ClassScores(name, true, wilson(correct, true), wilson(correct, predicted))
        for name, correct, predicted, true in zip(names, *(one_K.tolist() for one_K in counts), strict=True)
    ]
    return sorted(scores, key=lambda one: one.recall.value if one.samples else 2)


def confused_pairs(samples: TestSamples, names: Sequence[str], count: int) -> list[Pair]:
    """The most frequent mistakes."""
    predicted_N, labels_N = samples.logits_NK.argmax(-1), samples.labels_N
    wrong_N = predicted_N != labels_N
    codes_P, counts_P = (labels_N * len(names) + predicted_N)[wrong_N].unique(return_counts=True)
    order_P = counts_P.argsort(descending=True, stable=True)[:count]
    true_K = torch.bincount(labels_N, minlength=len(names)).tolist()
    pairs: list[tuple[int, int]] = torch.stack([codes_P, counts_P], 1)[order_P].tolist()
    return [
        Pair(names[code // len(names)], names[code % len(names)], number, number / true_K[code // len(names)])
        for code, number in pairs
    ]


def by_group(samples: TestSamples, groups: Mapping[int, str]) -> list[GroupScores]:
    """The group with the lowest accuracy first; without the samples that are in no group."""
    rows: dict[str, list[int]] = {}
    for row, index in enumerate(samples.indices_N.tolist()):
        if index in groups:
            rows.setdefault(groups[index], []).append(row)
    correct_N = samples.logits_NK.argmax(-1) == samples.labels_N
    scores = [_group(name, torch.tensor(one), correct_N, samples.losses_N) for name, one in sorted(rows.items())]
    return sorted(scores, key=lambda one: one.accuracy.value)


def _group(name: str, rows: Tensor, correct_N: Tensor, losses_N: Tensor) -> GroupScores:
    return GroupScores(name, len(rows), wilson(int(correct_N[rows].sum()), len(rows)), float(losses_N[rows].mean()))
