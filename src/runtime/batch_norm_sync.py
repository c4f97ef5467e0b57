"""Batch norm in several processes."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # torch has no public base class of them


class BatchNormSync(Callback):
    """Warns where several processes with batch norm compute something else than one, and broadcasts the running
    statistics of the first rank before each validation, so that all ranks validate what is saved.

    On GPUs the trainer synchronizes batch norm (`sync_batchnorm`). torch cannot on a CPU: there each process
    normalizes by its own shard of a batch.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        local = [
            m for m in pl_module.modules() if isinstance(m, BatchNorm) and not isinstance(m, torch.nn.SyncBatchNorm)
        ]
        self._unsynchronized = bool(local) and trainer.world_size > 1
        if self._unsynchronized and trainer.is_global_zero:
            print(
                f"batch norm is not synchronized: each of {trainer.world_size} processes normalizes by its own shard "
                "of a batch, so the result differs from that of one process",
                flush=True,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if getattr(self, "_unsynchronized", False):
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)
