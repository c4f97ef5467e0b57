"""Predictions as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from src.callbacks.class_names import names_of
from src.callbacks.gathered_outputs import gather
from src.data import ImageDataModule
from src.files import replacing


class PredictionWriter(Callback):
    """Writes predictions.csv into the run directory after a prediction: one row per sample, in the order of the
    dataset, with its index, its file (`path`) if it is one, true class, predicted class and the probability of each
    class. Where an image can have several classes, those that it has, and those whose probability reaches the
    threshold, are separated by `;`.

    The module's `predict_step` returns a dict of tensors: `indices` (B,), `labels` (B,) and `probabilities` (B, K).
    """

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any, **__: Any
    ) -> None:
        self._batches.append(outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        gathered = gather(trainer, self._batches)
        if not gathered:
            return
        path = Path(trainer.default_root_dir) / "predictions.csv"
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        paths = data.test_paths() if isinstance(data, ImageDataModule) else None
        write_predictions(path, trainer, gathered["indices"], gathered["labels"], gathered["probabilities"], paths)
        rank_zero_info(f"predictions of {len(gathered['labels'])} samples in {path}")


def write_predictions(
    path: Path,
    trainer: Trainer,
    indices_N: Tensor,
    labels_N: Tensor,
    probabilities_NK: Tensor,
    paths: Sequence[str] | None = None,
) -> None:
    """Writes one row per sample, with the names of the classes of the trainer's data module and, of all samples of the
    dataset, `paths`; replaces the file atomically."""
    data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    classes = [str(name) for name in getattr(data, "classes", range(probabilities_NK.shape[1]))]
    threshold = getattr(trainer.lightning_module, "threshold", 0.5)
    predicted_N = probabilities_NK >= threshold if labels_N.dim() == 2 else probabilities_NK.argmax(-1)
    names = zip(*(names_of(one, classes, without="") for one in (labels_N, predicted_N)), strict=True)
    # A path, and the name of a class, may be a file name that is not UTF-8.
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        column = [] if paths is None else ["path"]
        writer.writerow(["index", *column, "true", "predicted", *(f"p({name})" for name in classes)])
        for index, of_sample, row in zip(indices_N.tolist(), names, probabilities_NK.tolist(), strict=True):
            own = [] if paths is None else [paths[index]]
            writer.writerow([index, *own, *of_sample, *(f"{value:.6f}" for value in row)])
