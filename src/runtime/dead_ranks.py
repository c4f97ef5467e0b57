"""Knowing who has died."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from src.runtime import ranks


class DeadRankDetector(Callback):
    """Lets each process know the others by name, so that when one dies the rest can say which. They end with the next
    operation that they share: in training that is each step's, and here each batch's of validation, where there would
    be none else before its end."""

    def __init__(self) -> None:
        self.rank_registry: ranks.RankRegistry | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exchanges names."""
        self.rank_registry = ranks.RankRegistry(trainer) if trainer.world_size > 1 else None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Meets the others; all have the same number of batches, if not of samples."""
        if trainer.state.fn == "fit":
            ranks.all_reduce_max(trainer, 0)
