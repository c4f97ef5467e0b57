"""Callbacks that the checks add to a fit in another process."""

import os
import signal
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class KillAt(Callback):
    """Kills its process before a training step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class PrintGroup(Callback):
    """Prints the backend of the process group and how many batch norms are synchronized."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        synchronized = sum(isinstance(module, torch.nn.SyncBatchNorm) for module in pl_module.modules())
        if trainer.is_global_zero:
            print(f"group {torch.distributed.get_backend()}, {trainer.world_size}, {synchronized}", flush=True)
