"""TensorBoard's writer of a run."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def summary_writer(trainer: Trainer) -> SummaryWriter | None:
    """The SummaryWriter of the trainer's TensorBoardLogger; None without one, and on all ranks but the first."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            return logger.experiment
    return None
