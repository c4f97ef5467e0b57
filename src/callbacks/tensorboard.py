"""Where callbacks draw pictures."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def writer(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer of a run, in the first process; none if the run logs elsewhere or not at all."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, TensorBoardLogger):
            return logger.experiment
    return None
