"""What a checkpoint of this project holds in addition to Lightning's content."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lightning.pytorch.utilities import move_data_to_device, rank_zero_info
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torchmetrics import Metric

from src.runtime import file_format, lightning_workarounds

METRICS = "train_metrics"  # the checkpoint's entry, and the module's attribute


class ResumeState(Callback):
    """Adds the configuration, the format version and, within an epoch, the training metrics of all ranks to each
    checkpoint, so that a run resumed in the middle of an epoch ends it with the metrics of the undisturbed run."""

    _unfinished = False  # whether a resumed run has steps left, until it starts them

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[file_format.ENTRY] = file_format.FORMAT_VERSION
        checkpoint["config"] = getattr(pl_module, "config", None)
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            own = {name: dict(metric.metric_state) for name, metric in _metrics(pl_module)}
            checkpoint[METRICS] = _gathered(trainer, own)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restores this rank's metrics; with another number of ranks, the first takes the sum of all."""
        if trainer.state.fn != "fit":
            return
        self._unfinished = not 0 <= trainer.max_steps <= checkpoint["global_step"]
        of_ranks = checkpoint.get(METRICS)
        if not of_ranks:
            return
        same = len(of_ranks) == trainer.world_size
        if not same and trainer.global_rank > 0:
            return
        for name, metric in _metrics(pl_module):
            for field in of_ranks[0][name]:
                values = [of_rank[name][field] for of_rank in of_ranks]
                if same:
                    value = values[trainer.global_rank]
                else:  # a list has the outputs of all batches
                    value = [*chain(*values)] if isinstance(values[0], list) else torch.stack(values).sum(0)
                setattr(metric, field, move_data_to_device(value, pl_module.device))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets a run that EarlyStopping has ended stay so."""
        if self._unfinished:
            self._max_steps = lightning_workarounds.exchange_max_steps(trainer, -1)
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, EarlyStopping) and callback.stopping_reason is not EarlyStoppingReason.NOT_STOPPED:
                trainer.should_stop = True
                rank_zero_info(f"EarlyStopping has ended this run: {callback.stopping_reason_message}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_fit_end(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._unfinished:
            lightning_workarounds.exchange_max_steps(trainer, self._max_steps)
            self._unfinished = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        lightning_workarounds.step_plateau_scheduler(trainer)


def _metrics(pl_module: LightningModule) -> list[tuple[str, Metric]]:
    collection = getattr(pl_module, METRICS, None)
    return list(collection.items(keep_base=True)) if collection is not None else []


def _gathered(trainer: Trainer, own: Any) -> list[Any]:
    """The metric states of all ranks, in their order."""
    own = apply_to_collection(own, Tensor, lambda tensor: tensor.detach().cpu().clone())
    if trainer.world_size == 1:
        return [own]
    of_ranks: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(of_ranks, own)
    return of_ranks
