"""The confusion matrix of a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix, MultilabelConfusionMatrix

from src.callbacks.class_names import class_names
from src.callbacks.display_only import display_only
from src.callbacks.log_image import WIDTH, log_image, log_missing, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAG = "view_test/confusion_matrix"
MAX_CLASSES_WITH_COUNTS = 20  # with more classes, cells are smaller than their counts


class ConfusionMatrix(Callback):
    """Writes confusion_matrix.json and confusion_matrix.png into the run directory after a test, and shows the image in
    TensorBoard.

    The module's attribute `confusion` is a `torchmetrics.classification.MulticlassConfusionMatrix` that `test_step`
    updates, or, where an image can have several classes, a `MultilabelConfusionMatrix`: of each class, how many images
    with and without it are predicted to have it.
    """

    def __init__(self, max_classes: int = 100) -> None:
        """
        Args:
            max_classes: with more classes than this, no image is drawn.
        """
        self.max_classes = max_classes

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        confusion = getattr(pl_module, "confusion", None)
        if not isinstance(confusion, MulticlassConfusionMatrix | MultilabelConfusionMatrix):
            return
        counts = confusion.compute().cpu()
        if not trainer.is_global_zero:
            return
        names = class_names(trainer, len(counts))
        with display_only("the confusion matrix"):
            self._save(trainer, counts, names)

    def _save(self, trainer: Trainer, counts: Tensor, names: list[str]) -> None:
        """Of counts (K, K), or (K, 2, 2) where an image can have several classes."""
        directory, of_each = Path(trainer.default_root_dir), counts.dim() == 3
        directory.mkdir(parents=True, exist_ok=True)
        rows = "of each class, images without it and with it" if of_each else "true class"
        content = {"classes": names, "rows_are": rows, "counts": counts.tolist()}
        (directory / "confusion_matrix.json").write_text(json.dumps(content) + "\n")
        if len(names) > self.max_classes:
            text = f"{len(names)} classes are too many for an image; their counts are in confusion_matrix.json"
            return log_missing(trainer, _TAG, text)
        figure = plot_of_each(counts, names) if of_each else plot(counts, names)
        figure.savefig(directory / "confusion_matrix.png", dpi=200)
        log_image(trainer, _TAG, figure)


def plot(counts_KK: Tensor, names: list[str]) -> Figure:
    """Rows are true classes, columns predicted ones; the color is the fraction of the row."""
    few = len(names) <= MAX_CLASSES_WITH_COUNTS
    side = max(WIDTH, 90 + len(names) * (24 if few else 12))
    axes = (figure := new_figure(side + 40, side)).add_subplot()
    fractions_KK = counts_KK / counts_KK.sum(1, keepdim=True).clamp(min=1)
    text: dict[str, Any] = {"fontsize": 7, "parse_math": False}
    axes.set_title("Confusion matrix", fontsize=8)
    axes.set_xlabel("predicted class", fontsize=8)
    axes.set_ylabel("true class", fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90, **text)
    axes.set_yticks(range(len(names)), names, **text)
    _draw(axes, fractions_KK, counts_KK, few)
    return figure


def plot_of_each(counts_K22: Tensor, names: list[str]) -> Figure:
    """A row for each class: of the images without it and of those with it, how many are predicted to have it, and how
    many not; the color is the fraction of these images."""
    figure = new_figure(90 + 24 * len(names))
    axes = figure.add_subplot()
    fractions_K4 = (counts_K22 / counts_K22.sum(2, keepdim=True).clamp(min=1)).flatten(1)
    text: dict[str, Any] = {"fontsize": 7, "parse_math": False}
    axes.set_title("Confusion matrix of each class", fontsize=8)
    columns = ["without it:\nnot predicted", "without it:\npredicted", "with it:\nnot predicted", "with it:\npredicted"]
    axes.set_xticks(range(4), columns, **text)
    axes.set_yticks(range(len(names)), names, **text)
    _draw(axes, fractions_K4, counts_K22.flatten(1), with_counts=True)
    axes.set_aspect("auto")
    return figure


def _draw(axes: Any, fractions: Tensor, counts: Tensor, with_counts: bool) -> None:
    axes.imshow(fractions.numpy(), cmap="Blues", vmin=0, vmax=1)
    for (row, column), fraction in np.ndenumerate(fractions.numpy()) if with_counts else ():
        color = "white" if fraction > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", size=7, color=color)
