"""TensorBoard's logger of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import SummaryWriter

_RATE = "train/lr"
_MAX_GROUPS = 4  # of parameters, with a chart of the learning rate for each


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's TensorBoardLogger without charts of one value: it leaves out the metrics of a test, which are in
    results.json and on the pages TEXT and HPARAMS, and Lightning's `epoch`.

    TensorBoard shows the first two groups of tags in alphabetical order. These are `train` and `val`, with loss,
    accuracy and, in place of Lightning's `lr-AdamW`, one `train/lr` for all optimizers; all other tags follow them. Of
    more than four parameter groups, as `model.layer_decay` makes them, it shows the largest learning rate.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        shown = {name: value for name, value in metrics.items() if name != "epoch" and not name.startswith("test/")}
        shown = {_tag(name): value for name, value in shown.items()}
        rates = [name for name in shown if name.startswith(f"{_RATE}/pg")]
        if len(rates) > _MAX_GROUPS:
            shown[_RATE] = max(shown.pop(name) for name in rates)
        super().log_metrics(shown, step)


def _tag(name: str) -> str:
    return re.sub(r"^(train|val)/top5$", r"watch/top5_\1", re.sub(r"^lr-\w+", _RATE, name))


def summary_writer(trainer: Trainer) -> SummaryWriter | None:
    """The SummaryWriter of the trainer's TensorBoardLogger; None without one, and on all ranks but the first."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            return logger.experiment
    return None
