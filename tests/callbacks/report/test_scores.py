"""The figures of a test."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from src.callbacks.report.scores import by_class, by_group, confused_pairs, overall
from src.callbacks.test_samples import TestSamples

NAMES = ["a", "b", "c"]


def samples(labels: list[int], predicted: list[int], num_classes: int = 3) -> TestSamples:
    labels_N, logits_NK = torch.tensor(labels), 2.0 * F.one_hot(torch.tensor(predicted), num_classes)
    return TestSamples(
        10 + torch.arange(len(labels)), labels_N, logits_NK, F.cross_entropy(logits_NK, labels_N, reduction="none")
    )


TESTED = samples([0, 0, 0, 1, 1], [0, 0, 1, 1, 2])


def test_overall() -> None:
    found = overall(TESTED, seed=0)
    assert found["accuracy"].value == pytest.approx(0.6)
    assert "top-5 accuracy" not in found
    assert found["loss"].value == pytest.approx(float(TESTED.losses_N.mean()))
    assert all(one.low <= one.value <= one.high for one in found.values())
    assert overall(samples([0, 1], [0, 1], 6), 0)["top-5 accuracy"].value == 1


def test_classes_with_the_lowest_recall_first_and_without_samples_last() -> None:
    b, a, c = by_class(TESTED, NAMES)
    assert (a.name, a.samples, b.name, b.samples, c.name, c.samples) == ("a", 3, "b", 2, "c", 0)
    assert (a.recall.value, a.precision.value) == pytest.approx((2 / 3, 1))
    assert (b.recall.value, b.precision.value) == pytest.approx((1 / 2, 1 / 2))
    assert math.isnan(c.recall.value) and c.precision.value == 0


def test_the_most_frequent_mistakes() -> None:
    tested = samples([0, 0, 0, 0, 2, 1], [1, 1, 2, 0, 0, 1])
    first, *others = confused_pairs(tested, NAMES, 2)
    assert first == ("a", "b", 2, 0.5)
    assert [(one.true, one.predicted) for one in others] == [("a", "c")]
    assert confused_pairs(samples([0], [0]), NAMES, 2) == []


def test_groups_by_the_index_of_the_samples() -> None:
    north, south = by_group(TESTED, {10: "south", 11: "south", 12: "north", 99: "south"})
    assert (north.name, north.samples, north.accuracy.value) == ("north", 1, 0)
    assert (south.name, south.samples, south.accuracy.value) == ("south", 2, 1)
    assert by_group(TESTED, {99: "x"}) == []
