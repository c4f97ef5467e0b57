"""Precision and recall of each class in a test.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from src.callbacks.class_names import class_names
from src.callbacks.display_only import display_only
from src.callbacks.log_image import image_loggers, log_image, new_figure
from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from src.data.batch import class_counts
from src.metrics import average_precisions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ClassScores(TestSamplesCallback):
    """Shows, after a test, precision and recall of each class as bars, the class with the lowest F1 score first, and
    writes classes.csv: images, precision, recall and F1 score of each class, empty where one is not defined; where an
    image can have several classes, also the threshold and the average precision."""

    def __init__(self, max_classes: int = 40) -> None:
        """
        Args:
            max_classes: with more classes than this, those with the lowest F1 scores are shown.

        Raises:
            ValueError: if the number is out of range.
        """
        if max_classes < 1:
            raise ValueError(f"max_classes {max_classes} must be at least 1")
        self.max_classes = max_classes

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        with display_only("classes.csv"):
            write_scores(Path(trainer.default_root_dir) / "classes.csv", trainer, samples)
        if image_loggers(trainer):
            with display_only("precision and recall by class"):
                names = class_names(trainer, samples.logits_NK.shape[1])
                precision_K, recall_K = precision_recall(samples.predicted_N, samples.labels_N, len(names))
                log_image(trainer, "view_test/classes", plot(precision_K, recall_K, names, self.max_classes))


def counts_of_classes(predicted_N: Tensor, labels_N: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """How often each class is predicted and true, predicted, and true, int64 (K,) each, from classes (N,), or (N, K)
    where an image can have several."""
    correct_N = predicted_N * labels_N if labels_N.dim() == 2 else labels_N[predicted_N == labels_N]
    correct_K, predicted_K, true_K = (class_counts(one, num_classes) for one in (correct_N, predicted_N, labels_N))
    return correct_K, predicted_K, true_K


def precision_recall(predicted_N: Tensor, labels_N: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Precision (K,), NaN for a class that is never predicted, and recall (K,), NaN for a class without samples."""
    correct_K, predicted_K, true_K = counts_of_classes(predicted_N, labels_N, num_classes)
    return correct_K / predicted_K, correct_K / true_K


def write_scores(path: Path, trainer: Trainer, samples: TestSamples) -> None:
    """One row for each class."""
    names = class_names(trainer, samples.logits_NK.shape[1])
    correct_K, predicted_K, true_K = counts_of_classes(samples.predicted_N, samples.labels_N, len(names))
    scores = {
        "precision": correct_K / predicted_K,
        "recall": correct_K / true_K,
        "f1": 2 * correct_K / (predicted_K + true_K),
    }
    if samples.multi_label:
        scores |= {
            "average_precision": average_precisions(samples.probabilities_NK, samples.labels_N),
            "threshold": torch.full_like(scores["f1"], samples.threshold),
        }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "images", *scores])
        for name, count, row in zip(names, true_K.tolist(), torch.stack([*scores.values()], 1).tolist(), strict=True):
            writer.writerow([name, count, *("" if math.isnan(score) else f"{score:.4f}" for score in row)])


def plot(precision_K: Tensor, recall_K: Tensor, names: list[str], max_classes: int) -> Figure:
    """Two bars per class; a class without samples has the words in place of the bar of its recall."""
    f1_K = 2 * precision_K * recall_K / (precision_K + recall_K)
    order: list[int] = f1_K.nan_to_num(0).masked_fill(recall_K.isnan(), 2).argsort(stable=True)[:max_classes].tolist()
    figure = new_figure(70 + 26 * len(order))
    axes = figure.subplots()
    for place, number in enumerate(order):
        for values_K, offset, color in ((precision_K, -0.2, "tab:blue"), (recall_K, 0.2, "tab:orange")):
            axes.barh(place + offset, float(values_K[number].nan_to_num()), 0.38, color=color)
            score, missing = float(values_K[number]), "no samples" if values_K is recall_K else "never predicted"
            text = missing if score != score else f"{score:.2f}"
            axes.text(0.01, place + offset, text, size=6.5, va="center", color="white" if score > 0.12 else "black")
    axes.set_yticks(range(len(order)), [names[number] for number in order], fontsize=7, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6))
    axes.tick_params(labelsize=7)
    first = "" if len(order) == len(names) else f", the {len(order)} lowest of {len(names)} classes"
    axes.set_title(f"Precision (blue) and recall (orange){first}", fontsize=8)
    return figure
