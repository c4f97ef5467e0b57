"""The predictions of a run for each sample of its validation and its test, as CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from torch import Tensor

from src.callbacks.gathered_outputs import gather
from src.callbacks.prediction_writer import write_predictions
from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from src.data import ImageDataModule

VALIDATION, TEST = "val_predictions.csv", "test_predictions.csv"


class SamplePredictions(TestSamplesCallback):
    """Writes test_predictions.csv after a test and, in cross-validation, val_predictions.csv after each validation: the
    out-of-fold predictions of the last weights. `study` adds it to each run, to compare runs sample by sample.

    The module's `test_step` and `validation_step` return a dict of tensors: `indices` (B,), `labels` (B,) and `logits`
    (B, K).
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated: list[dict[str, Tensor]] = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any, **__: Any
    ) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(data, ImageDataModule) and data.folds and trainer.state.fn == "fit":
            self._validated.append(outputs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After each validation, and not only the last one, which a resumed run may not repeat."""
        if gathered := gather(trainer, self._validated):
            _write(trainer, VALIDATION, gathered["indices"], gathered["labels"], gathered["logits"])

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        _write(trainer, TEST, samples.indices_N, samples.labels_N, samples.logits_NK)


def _write(trainer: Trainer, name: str, indices_N: Tensor, labels_N: Tensor, logits_NK: Tensor) -> None:
    probabilities_NK = logits_NK.sigmoid() if labels_N.dim() == 2 else logits_NK.softmax(-1)
    write_predictions(Path(trainer.default_root_dir) / name, trainer, indices_N, labels_N, probabilities_NK)
