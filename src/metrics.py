"""What is measured in training and evaluation, of images with one class or with several.

Shapes: B samples of a batch, N of all batches, K classes, T thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError, MultilabelAveragePrecision
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

MetricCallable = Callable[[int], Metric]  # of the number of classes

NUM_THRESHOLDS = 99  # 0.01, 0.02, ..., 0.99


def metrics_of(num_classes: int, own: Mapping[str, MetricCallable], multi_label: bool) -> MetricCollection:
    """The metrics of training and validation, and a user's own."""
    # The data module has checked the labels and the step the shape of the logits; torchmetrics would search each batch.
    micro: dict[str, Any] = {"average": "micro", "validate_args": False}
    metrics: dict[str, Metric | MetricCollection] = {"loss": MeanMetric(nan_strategy="disable")}
    if multi_label:
        metrics["map"] = MeanAveragePrecision(num_classes)
        reserved = {"f1", "threshold"}
    else:
        metrics["acc"] = MulticlassAccuracy(num_classes, **micro)
        reserved = {"top5", "f1", "balanced_acc", "calibration_error"}
    if num_classes > 5 and not multi_label:
        metrics["top5"] = MulticlassAccuracy(num_classes, **micro, top_k=5)
    if taken := [name for name in own if name in {*metrics, *reserved}]:
        raise ValueError(f"metrics has {', '.join(taken)}, which every run has; choose another name")
    metrics |= {name: make(num_classes) for name, make in own.items()}
    return MetricCollection(metrics, compute_groups=False)


def test_metrics_of(num_classes: int, own: Mapping[str, MetricCallable], multi_label: bool) -> MetricCollection:
    """Those of a test."""
    metrics = metrics_of(num_classes, own, multi_label)
    if not multi_label:
        metrics["calibration_error"] = MulticlassCalibrationError(num_classes, n_bins=15, validate_args=False)
    return metrics


def class_metrics(counts_KK: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy (K,) and F1 score (K,) of each class from a confusion matrix with true classes as rows. NaN for a class
    without samples."""
    correct_K, true_K, predicted_K = counts_KK.diag(), counts_KK.sum(1), counts_KK.sum(0)
    f1_K = 2 * correct_K / (true_K + predicted_K)
    return correct_K / true_K, f1_K.where(true_K > 0, math.nan)


class MeanAveragePrecision(MultilabelAveragePrecision):
    """torchmetrics' mean of the average precisions of the classes, without the classes that no sample has: it counts
    these as 0. NaN if no sample has a class. Keeps the probabilities of all samples."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, validate_args=False)

    def compute(self) -> Tensor:
        probabilities_NK, targets_NK = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        has_K = targets_NK.any(0)
        if not has_K.any():
            return probabilities_NK.new_tensor(math.nan)
        chosen = probabilities_NK[:, has_K], targets_NK[:, has_K]
        return multilabel_average_precision(*chosen, num_labels=int(has_K.sum()), validate_args=False)


def at_all_thresholds(probabilities_BK: Tensor, targets_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each probability reaches each threshold, and the targets, both (B, T K), for a
    `MultilabelConfusionMatrix` of T K labels."""
    thresholds_T1 = torch.arange(1, NUM_THRESHOLDS + 1, device=probabilities_BK.device)[:, None] / (NUM_THRESHOLDS + 1)
    return (probabilities_BK[:, None] >= thresholds_T1).flatten(1).int(), targets_BK.repeat(1, NUM_THRESHOLDS)


def f1_scores(counts_K22: Tensor) -> Tensor:
    """F1 score (K,) of each class from a matrix [[TN, FP], [FN, TP]] of each; NaN for a class that no sample has."""
    true_positive_K, missed_K, false_K = counts_K22[..., 1, 1], counts_K22[..., 1, 0], counts_K22[..., 0, 1]
    f1_K = 2 * true_positive_K / (2 * true_positive_K + missed_K + false_K)
    return f1_K.where(true_positive_K + missed_K > 0, math.nan)


def best_threshold(f1_T: Tensor) -> float:
    """The threshold with the largest F1 score; of several, the one that is closest to 0.5."""
    f1_T = f1_T.nan_to_num(0)
    best_M = (f1_T == f1_T.max()).nonzero()[:, 0] + 1
    middle = (NUM_THRESHOLDS + 1) // 2
    return int(best_M[(best_M - middle).abs().argmin()]) / (NUM_THRESHOLDS + 1)
