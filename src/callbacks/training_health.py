"""Scalars that show why a training goes wrong, or is slow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from src.callbacks.display_only import display_only
from src.callbacks.sharded_network import complete
from src.data.batch import Batch

_RESIDENT_PAGES = Path("/proc/self/statm")  # Linux
_PAGE_BYTES = 4096


class TrainingHealth(Callback):
    """Logs, every `trainer.log_every_n_steps` steps of the first rank:

    `watch/gradient_norm`: the norm of all gradients before they are clipped. It grows before a loss diverges; at 0
    nothing is learned.
    `watch/update_ratio`: the norm of the step's change of all weights, divided by the norm of the weights. About 0.001
    is common; far more is unstable, far less is slow.
    `watch/images_per_second`: images of all ranks, without the time of validation.
    `watch/memory_GB`: the peak memory allocated on a GPU; on a CPU the memory of the process (Linux only).

    And after each epoch `watch/seconds_per_epoch`, validation included; not after one that is resumed in its middle.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._weights: list[Tensor] | None = None  # before the step that is logged
        self._gradient_norm: Tensor | None = None
        self._epoch_start: float | None = None  # of an epoch that is not resumed in its middle
        self._start_clock()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start = time.perf_counter()
        self._start_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start_clock()

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        every = trainer.log_every_n_steps  # pyright: ignore[reportAttributeAccessIssue]
        # An optimizer may evaluate the loss several times per step.
        due = every > 0 and (trainer.global_step + 1) % every == 0 and self._weights is None
        if due and trainer.loggers:  # on all ranks, as they may have shards
            with display_only("the norm of the gradient"):
                gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
                self._gradient_norm = complete(get_total_norm(gradients))
                self._weights = [weight.detach().clone() for weight in _trained(pl_module)]

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += batch.size if isinstance(batch, Batch) else 0
        if self._weights is None or self._gradient_norm is None:
            return
        updates = [new - old for new, old in zip(_trained(pl_module), self._weights, strict=True)]
        ratio = complete(get_total_norm(updates)) / complete(get_total_norm(self._weights))
        # Reading these waits for the step, so the time after them is that of all steps.
        values = {"gradient_norm": self._gradient_norm.item(), "update_ratio": ratio.item()}
        if self._images:
            values["images_per_second"] = self._images / (time.perf_counter() - self._since)
        values |= _memory(trainer)
        self._weights = None
        self._start_clock()
        _log(trainer, values, trainer.global_step - 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._epoch_start is not None:
            _log(trainer, {"seconds_per_epoch": time.perf_counter() - self._epoch_start}, trainer.global_step - 1)

    def _start_clock(self) -> None:
        self._images, self._since = 0, time.perf_counter()


def _trained(module: LightningModule) -> list[Tensor]:
    return [weight for weight in module.parameters() if weight.requires_grad]


def _memory(trainer: Trainer) -> dict[str, float]:
    device = trainer.strategy.root_device
    if device.type in ("cuda", "xpu"):
        return {"memory_GB": torch.accelerator.max_memory_allocated(device) / 1e9}
    if _RESIDENT_PAGES.exists():
        return {"memory_GB": int(_RESIDENT_PAGES.read_text().split()[1]) * _PAGE_BYTES / 1e9}
    return {}


def _log(trainer: Trainer, values: dict[str, float], step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({f"watch/{name}": value for name, value in values.items()}, step)
