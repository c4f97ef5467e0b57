"""Predictions as a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class PredictionWriter(Callback):
    """Writes predictions.csv into the run directory when a prediction has ended: a row a sample, in the order
    of the data set, with its number, true class, predicted class and the probability of each class."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets an earlier prediction."""
        self._batches: list[dict[str, torch.Tensor]] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps a batch."""
        self._batches.append({name: value.cpu() for name, value in outputs.items()})

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers all processes' rows and writes the table."""
        parts: list[Any] = [self._batches]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._batches)
        if not trainer.is_global_zero:
            return
        batches = [batch for part in parts for batch in part]
        columns = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        order = columns["indices"].argsort().tolist()
        classes = trainer.datamodule.classes  # pyright: ignore[reportAttributeAccessIssue]
        path = Path(trainer.default_root_dir) / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["sample", "true", "predicted", *(f"p({name})" for name in classes)])
            labels, probabilities_NK = columns["labels"].tolist(), columns["probabilities"]
            predicted = probabilities_NK.argmax(1).tolist()
            for row in order:
                shares = (f"{value:.6f}" for value in probabilities_NK[row].tolist())
                writer.writerow([int(columns["indices"][row]), classes[labels[row]], classes[predicted[row]], *shares])
        rank_zero_info(f"predictions of {len(order)} samples in {path}")
