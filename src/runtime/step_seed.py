"""The random numbers of a step (dropout)."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from src import rng


class StepSeed(Callback):
    """Seeds torch's global generators at the start of each training step with (seed, epoch, batch index, rank), so
    that a step samples the same numbers whether or not the run was interrupted before it."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        seed = getattr(trainer.datamodule, "seed", 0)  # pyright: ignore[reportAttributeAccessIssue]
        key = rng.key(seed, rng.Stream.STEP, trainer.current_epoch, batch_idx, trainer.global_rank)
        if pl_module.device.type == "cpu":
            # torch.manual_seed also queries the GPUs, each time: a fifth of the trainer's overhead of a step.
            torch.default_generator.manual_seed(key)
        else:
            torch.manual_seed(key)
