"""What depends on whether an image has one class or can have several: probabilities, loss, metrics.

Shapes: B samples on this rank, K classes. Labels are class indices (B,), or 0 and 1 for each class (B, K).
"""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MultilabelConfusionMatrix,
)

from src.errors import UserError
from src.metrics import F1AtThreshold, MeanAveragePrecision, class_metrics, f1_scores

Loss = nn.Module | Callable[[Tensor, Tensor], Tensor]  # of logits and labels
MetricCallable = Callable[[int], Metric]  # of the number of classes
_MAX_LOGGED_CLASSES = 100  # each has a chart and a line of the table that ends a test
Stage = Literal["train", "val", "test"]


class Task(ABC):
    """What a classifier computes from logits and labels.

    Attributes:
        of_logits: names of the metrics that get logits; all others get probabilities.
        reserved: names of metrics that only some stages have, which a user's own cannot have.
    """

    of_logits: tuple[str, ...] = ()
    reserved: tuple[str, ...]

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    @abstractmethod
    def probabilities(self, logits_BK: Tensor) -> Tensor:
        """Class probabilities (B, K)."""

    @abstractmethod
    def predicted(self, logits_BK: Tensor, threshold: float) -> Tensor:
        """Labels as the network predicts them; where an image can have several, those whose probability reaches the
        threshold."""

    @abstractmethod
    def losses(
        self, logits_BK: Tensor, labels_B: Tensor, loss: Loss | None, label_smoothing: float, weights_K: Tensor | None
    ) -> Tensor:
        """The loss of each image (B,).

        Args:
            logits_BK: of the network.
            labels_B: of the images.
            loss: without a mean over the batch; None for cross-entropy.
            label_smoothing: of cross-entropy.
            weights_K: of the classes.

        Raises:
            UserError: if `loss` returns something of another shape.
        """

    @abstractmethod
    def balanced_weights(self, counts_K: Tensor, num_images: int) -> Tensor:
        """Weights (K,) of the classes by which rare ones count as much as frequent ones."""

    @abstractmethod
    def confusion(self) -> Metric:
        """Counts what `predicted` returns, by classes."""

    @abstractmethod
    def test_scores(self, counts: Tensor, names: Iterable[object], threshold: float) -> dict[str, Tensor]:
        """Metrics of a test from what `confusion` has counted, by their names; NaN for a class without samples. Of more
        than 100 classes, there are none of each class."""

    @abstractmethod
    def _own_metrics(self, stage: Stage) -> dict[str, Metric]: ...

    def metrics(self, stage: Stage, own: Mapping[str, MetricCallable]) -> MetricCollection:
        """The loss, the metrics of the task and those of a user.

        Raises:
            ValueError: if one of the user's has the name of another, or does not take the number of classes.
        """
        metrics: dict[str, Metric | MetricCollection] = {"loss": MeanMetric(nan_strategy="disable")}
        metrics |= self._own_metrics(stage)
        if taken := [name for name in own if name in {*metrics, *self.reserved}]:
            raise ValueError(f"metrics has {', '.join(taken)}, which every run has; choose another name")
        metrics |= {name: self._built(name, make) for name, make in own.items()}
        return MetricCollection(metrics, prefix=f"{stage}/", compute_groups=False)

    def _built(self, name: str, make: MetricCallable) -> Metric:
        try:
            return make(self.num_classes)
        except Exception as error:
            raise ValueError(
                f"metrics {name} cannot be built with the number of classes, {self.num_classes}, as its first "
                f"argument: {error}. Choose a class for it, such as torchmetrics.classification.MulticlassF1Score"
            ) from error


class SingleLabel(Task):
    """One class per image."""

    # torchmetrics takes a batch whose logits all lie in [0, 1] for probabilities, which have the same order.
    of_logits = ("acc", "top5")
    reserved = ("top5", "f1", "balanced_acc", "calibration_error")

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.softmax(-1)

    def predicted(self, logits_BK: Tensor, threshold: float) -> Tensor:
        return logits_BK.argmax(-1)

    def losses(
        self, logits_BK: Tensor, labels_B: Tensor, loss: Loss | None, label_smoothing: float, weights_K: Tensor | None
    ) -> Tensor:
        if loss is None:
            losses_B = F.cross_entropy(logits_BK, labels_B, reduction="none", label_smoothing=label_smoothing)
        else:
            losses_B = loss(logits_BK, labels_B)
        if losses_B.shape != labels_B.shape:
            raise UserError(
                f"model.loss returns {tuple(losses_B.shape)} for {tuple(logits_BK.shape)} logits; it must return one "
                f"loss per image, {tuple(labels_B.shape)}, without a mean over the batch"
            )
        return losses_B if weights_K is None else losses_B * weights_K[labels_B]

    def balanced_weights(self, counts_K: Tensor, num_images: int) -> Tensor:
        return num_images / (self.num_classes * counts_K.clamp(min=1).float())

    def confusion(self) -> Metric:
        return MulticlassConfusionMatrix(self.num_classes, validate_args=False)

    def test_scores(self, counts: Tensor, names: Iterable[object], threshold: float) -> dict[str, Tensor]:
        acc_K, f1_K = class_metrics(counts)
        return {"f1": f1_K.nanmean(), **_of_each("acc_of", acc_K, names), "balanced_acc": acc_K.nanmean()}

    def _own_metrics(self, stage: Stage) -> dict[str, Metric]:
        # The data module has checked the labels and the step the shape of the logits; torchmetrics would search each
        # batch.
        micro: dict[str, Any] = {"average": "micro", "validate_args": False}
        metrics: dict[str, Metric] = {"acc": MulticlassAccuracy(self.num_classes, **micro)}
        if self.num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(self.num_classes, **micro, top_k=5)
        if stage == "test":
            metrics["calibration_error"] = MulticlassCalibrationError(self.num_classes, n_bins=15, validate_args=False)
        return metrics


class MultiLabel(Task):
    """Any number of the classes per image, each with a probability of its own."""

    reserved = ("f1", "threshold")

    def probabilities(self, logits_BK: Tensor) -> Tensor:
        return logits_BK.sigmoid()

    def predicted(self, logits_BK: Tensor, threshold: float) -> Tensor:
        return (logits_BK.sigmoid() >= threshold).int()

    def losses(
        self, logits_BK: Tensor, labels_B: Tensor, loss: Loss | None, label_smoothing: float, weights_K: Tensor | None
    ) -> Tensor:
        targets_BK = labels_B.to(logits_BK.dtype)
        if loss is None:
            smoothed_BK = targets_BK * (1 - label_smoothing) + label_smoothing / 2
            losses_BK = F.binary_cross_entropy_with_logits(logits_BK, smoothed_BK, reduction="none")
        else:
            losses_BK = loss(logits_BK, targets_BK)
        if losses_BK.shape == targets_BK.shape[:1] and weights_K is None:  # a loss with a mean over the classes
            return losses_BK
        if losses_BK.shape != targets_BK.shape:
            raise UserError(
                f"model.loss returns {tuple(losses_BK.shape)} for {tuple(logits_BK.shape)} logits and targets; it must "
                "return one loss per image and class, or, without class_weights, one per image"
            )
        if weights_K is not None:
            losses_BK = losses_BK * torch.where(targets_BK > 0, weights_K, 1.0)
        return losses_BK.mean(1)

    def balanced_weights(self, counts_K: Tensor, num_images: int) -> Tensor:
        return (num_images - counts_K) / counts_K.clamp(min=1)

    def confusion(self) -> Metric:
        return MultilabelConfusionMatrix(self.num_classes, validate_args=False)

    def test_scores(self, counts: Tensor, names: Iterable[object], threshold: float) -> dict[str, Tensor]:
        f1_K = f1_scores(counts)
        return {"f1": f1_K.nanmean(), **_of_each("f1_of", f1_K, names), "threshold": torch.tensor(threshold)}

    def _own_metrics(self, stage: Stage) -> dict[str, Metric]:
        metrics: dict[str, Metric] = {"map": MeanAveragePrecision(self.num_classes)}
        if stage == "val":
            metrics["f1"] = F1AtThreshold(self.num_classes)
        return metrics


def _of_each(metric: str, values_K: Tensor, names: Iterable[object]) -> dict[str, Tensor]:
    few = len(values_K) <= _MAX_LOGGED_CLASSES
    return {f"{metric}/{name}": value for name, value in zip(names, values_K, strict=True)} if few else {}


def per_image(loss: Loss) -> Loss:
    """A loss without a mean over the batch, since a step divides by the samples of all ranks."""
    function: Any = loss
    if isinstance(loss, nn.Module):
        if hasattr(loss, "reduction"):
            function.reduction = "none"
        return function
    return functools.partial(function, reduction="none") if "reduction" in inspect.signature(loss).parameters else loss
