"""Metrics that torchmetrics does not have, of images with one class or with several.

Shapes: B samples of a batch, N of all batches, K classes, T thresholds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision, MultilabelConfusionMatrix
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat

NUM_THRESHOLDS = 99  # 0.01, 0.02, ..., 0.99


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
        return average_precisions(probabilities_NK, targets_NK).nanmean()


def average_precisions(probabilities_NK: Tensor, targets_NK: Tensor) -> Tensor:
    """Of each class (K,), NaN for one that no sample has."""
    has_K = targets_NK.any(0)
    found_K = probabilities_NK.new_full(has_K.shape, math.nan)
    if num_labels := int(has_K.sum()):
        found_K[has_K] = multilabel_average_precision(
            probabilities_NK[:, has_K], targets_NK[:, has_K], num_labels, average="none", validate_args=False
        ).reshape(-1)
    return found_K


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


class F1AtThreshold(MultilabelConfusionMatrix):
    """The F1 score, mean of the classes, of those whose probability reaches `chosen`, a multiple of 0.01. Classes that
    no sample has are left out."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(NUM_THRESHOLDS * num_classes, validate_args=False)
        self.num_classes = num_classes
        self.chosen = 0.5

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(*at_all_thresholds(preds, target))

    def compute(self) -> Tensor:
        return self._f1_T()[round(self.chosen * (NUM_THRESHOLDS + 1)) - 1]

    def best(self) -> float:
        """The threshold with the largest F1 score over the samples of all ranks."""
        with self.sync_context():
            return best_threshold(self._f1_T())

    def _f1_T(self) -> Tensor:
        return f1_scores(super().compute().unflatten(0, (NUM_THRESHOLDS, self.num_classes))).nanmean(-1)
