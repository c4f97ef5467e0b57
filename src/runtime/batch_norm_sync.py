"""Batch norm in several processes."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # torch's own base of all of them; it names no other


class BatchNormSync(Callback):
    """Says so where batch norm makes several processes another experiment than one, and lets all of them validate
    with the statistics that are saved.

    On GPUs the trainer synchronizes batch norm. torch cannot on a CPU: each process then normalizes by its own
    share of a batch, and the running statistics are those of the first.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warns once."""
        alone = [
            m for m in pl_module.modules() if isinstance(m, BatchNorm) and not isinstance(m, torch.nn.SyncBatchNorm)
        ]
        self._unsynchronised = bool(alone) and trainer.world_size > 1
        if self._unsynchronised and trainer.is_global_zero:
            print(
                f"batch norm is not synchronized: each of {trainer.world_size} processes normalizes by its own share "
                "of a batch, so the result differs from that of one process",
                flush=True,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the first process's statistics to all."""
        if getattr(self, "_unsynchronised", False):
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)
