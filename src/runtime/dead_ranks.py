"""Naming a rank that has died."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.runtime import ranks


class DeadRankDetector(Callback):
    """Registers the name of each rank, so that when one dies the others can report which. They fail in the next
    collective operation: in training there is one in each step; this adds one to each validation batch, where there
    would be none before the end of the validation."""

    def __init__(self) -> None:
        self.registry: ranks.RankRegistry | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.registry = ranks.RankRegistry(trainer) if trainer.world_size > 1 else None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.state.fn == "fit":  # all ranks have the same number of batches, if not of samples
            ranks.all_reduce_max(trainer, 0)
