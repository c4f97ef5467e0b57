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


# Class a is found in both of its images and in a third one, b is missed in one of two, no image has c.
SEVERAL = TestSamples(
    10 + torch.arange(3),
    torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 0]]),
    torch.tensor([[2.0, -3.0, -3.0], [1.0, -2.0, -3.0], [3.0, 2.0, -3.0]]),
    torch.tensor([0.1, 2.0, 0.3]),
    threshold=0.6,
)


def test_overall_where_an_image_can_have_several_classes() -> None:
    found = overall(SEVERAL, seed=0)
    assert next(iter(found)) == "mean average precision"  # which is 1 for both classes: the order is right
    assert found["mean average precision"].value == 1
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["F1 score, mean of the classes"].value == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["loss"].value == pytest.approx(0.8)
    assert all(one.low <= one.value <= one.high for one in found.values())


def test_each_of_several_classes_with_the_lowest_f1_score_first() -> None:
    b, a, c = by_class(SEVERAL, NAMES)
    assert (b.name, b.samples, b.recall.value, b.precision.value, b.missed, b.false) == ("b", 2, 0.5, 1, 1, 0)
    assert (a.name, a.samples, a.recall.value, a.missed, a.false) == ("a", 2, 1, 0, 1)
    assert (b.f1, a.f1, a.precision.value, a.average_precision) == pytest.approx((2 / 3, 4 / 5, 2 / 3, 1))
    assert c.name == "c" and all(map(math.isnan, (c.recall.value, c.f1, c.average_precision)))


def test_a_class_that_is_missed_where_another_is_predicted() -> None:
    assert confused_pairs(SEVERAL, NAMES, 5) == [("b", "a", 1, 0.5)]


def test_an_image_of_a_group_is_right_if_all_its_classes_are() -> None:
    south, north = by_group(SEVERAL, {10: "north", 11: "south", 12: "south"})
    assert (south.accuracy.value, south.loss) == pytest.approx((0.5, 1.15))
    assert (north.name, north.accuracy.value) == ("north", 1)
