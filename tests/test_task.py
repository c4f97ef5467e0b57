"""Losses and metrics of images with one class and with several."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Accuracy
from torchmetrics.classification import MulticlassF1Score, MultilabelF1Score

from src.errors import UserError
from src.models import FocalLoss
from src.task import MultiLabel, SingleLabel, Task, per_image

LOGITS_BK = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
TARGETS_BK = torch.tensor([[1, 0, 1], [0, 0, 1]])


def losses(loss: Any = None, label_smoothing: float = 0.0, class_weights: list[float] | None = None) -> Tensor:
    """Of images with several classes."""
    weights_K = torch.tensor(class_weights) if class_weights else None
    function = per_image(loss) if loss else None
    return MultiLabel(3).losses(LOGITS_BK, TARGETS_BK, function, label_smoothing, weights_K)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({}, nn.BCEWithLogitsLoss()),
        ({"loss": nn.BCEWithLogitsLoss()}, nn.BCEWithLogitsLoss()),
        ({"loss": nn.MultiLabelSoftMarginLoss()}, nn.MultiLabelSoftMarginLoss()),
        ({"loss": FocalLoss(gamma=0, alpha=-1)}, nn.BCEWithLogitsLoss()),
        (
            {"class_weights": [2.0, 1.0, 3.0]},
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 1.0, 3.0])),
        ),
    ],
)
def test_the_loss_of_several_classes_is_that_of_torch(kwargs: dict[str, Any], expected: nn.Module) -> None:
    losses_B = losses(**kwargs)
    assert losses_B.shape == (2,)
    torch.testing.assert_close(losses_B.mean(), expected(LOGITS_BK, TARGETS_BK.float()))


def test_label_smoothing_is_over_having_and_not_having_each_class() -> None:
    losses_B = losses(label_smoothing=0.2)
    expected = F.binary_cross_entropy_with_logits(LOGITS_BK, 0.1 + 0.8 * TARGETS_BK)
    torch.testing.assert_close(losses_B.mean(), expected)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"loss": lambda logits, targets: (logits - targets).mean()},
        {"loss": nn.MultiLabelSoftMarginLoss(), "class_weights": [1.0] * 3},
    ],
)
def test_a_loss_without_one_value_per_class_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="one loss per image and class, or, without class_weights, one per image"):
        losses(**kwargs)


@pytest.mark.parametrize(
    ("task", "predicted", "probabilities"),
    [
        (SingleLabel(3), [0, 1], [1.0, 1.0]),
        (MultiLabel(3), [[1, 0, 1], [0, 1, 0]], [1.7722, 1.5718]),  # sums of 1 / (1 + exp(-logit))
    ],
)
def test_one_class_is_predicted_or_all_that_reach_the_threshold(
    task: Task, predicted: Any, probabilities: list[float]
) -> None:
    assert task.predicted(LOGITS_BK, 0.6).tolist() == predicted
    torch.testing.assert_close(task.probabilities(LOGITS_BK).sum(1), torch.tensor(probabilities), rtol=0, atol=1e-4)


def test_the_metrics_of_each_stage() -> None:
    own = {"macro": lambda k: MulticlassF1Score(k, average="macro")}
    one = {stage: {*SingleLabel(6).metrics(stage, own)} for stage in ("train", "val", "test")}
    assert one["train"] == {"train/loss", "train/acc", "train/top5", "train/macro"}
    assert one["val"] == {"val/loss", "val/acc", "val/top5", "val/macro"}
    assert one["test"] == {"test/loss", "test/acc", "test/top5", "test/calibration_error", "test/macro"}
    several = {stage: {*MultiLabel(6).metrics(stage, {})} for stage in ("train", "val", "test")}
    assert several["train"] == {"train/loss", "train/map"}
    assert several["val"] == {"val/loss", "val/map", "val/f1"}
    assert several["test"] == {"test/loss", "test/map"}


@pytest.mark.parametrize(("task", "name"), [(SingleLabel(3), "top5"), (MultiLabel(3), "threshold")])
def test_a_metric_of_any_stage_has_a_reserved_name(task: Task, name: str) -> None:
    with pytest.raises(ValueError, match=f"metrics has {name}, which every run has"):
        task.metrics("train", {name: MultilabelF1Score})


def test_a_metric_that_does_not_take_the_number_of_classes_is_named() -> None:
    make: Any = Accuracy  # whose first argument is the task
    with pytest.raises(ValueError, match="metrics mine cannot be built with the number of classes, 3, as its first"):
        SingleLabel(3).metrics("train", {"mine": make})


@pytest.mark.parametrize("task", [SingleLabel, MultiLabel])
def test_scores_of_each_class_are_metrics_of_a_test_unless_there_are_many(task: type[Task]) -> None:
    for num_classes, shown in ((100, 100), (101, 0)):
        shape = (num_classes, num_classes) if task is SingleLabel else (num_classes, 2, 2)
        counts = torch.ones(shape, dtype=torch.long)
        scores = task(num_classes).test_scores(counts, range(num_classes), 0.5)
        assert sum("_of/" in name for name in scores) == shown
        assert "f1" in scores
