"""Random numbers of a step (dropout) as a function of seed, epoch, batch and process."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from src import rng


class StepSeed(Callback):
    """Seeds torch's global generators at the start of each training step, from the data module's seed and the
    step's place. So a step draws the same numbers whether the run was interrupted before it or not."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds the step."""
        seed = getattr(trainer.datamodule, "seed", 0)  # pyright: ignore[reportAttributeAccessIssue]
        key = rng.key(seed, rng.Stream.STEP, trainer.current_epoch, batch_idx, trainer.global_rank)
        if pl_module.device.type == "cpu":
            # torch.manual_seed looks for GPUs besides, each time: a fifth of what the trainer does around a step.
            torch.default_generator.manual_seed(key)
        else:
            torch.manual_seed(key)
