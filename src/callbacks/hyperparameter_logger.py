"""TensorBoard's hyperparameters."""

from __future__ import annotations

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from src.callbacks.display_only import display_only
from src.callbacks.tensorboard import summary_writer

# The columns of TensorBoard's HPARAMS tab; Lightning logs those of a test.
METRICS = ("best/val/acc", "test/acc", "test/loss")


class HyperparameterLogger(Callback):
    """Logs the configuration (`config` of the module) when training starts, to TensorBoard's HPARAMS tab with test/acc,
    test/loss and the best val/acc, as soon as there are any, to other loggers alone."""

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        config = getattr(pl_module, "config", None)
        if not config:
            return
        params = flatten({key: config[key] for key in ("seed_everything", "model", "data")})
        with display_only("the tab of hyperparameters"):
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    for summary in hparams(params, dict.fromkeys(METRICS, math.nan)):
                        logger.experiment.file_writer.add_summary(summary)
                else:
                    logger.log_hyperparams(params)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        best = getattr(trainer.checkpoint_callback, "best", None)
        if best and "val/acc" in best and (writer := summary_writer(trainer)):
            writer.add_scalar("best/val/acc", best["val/acc"], trainer.global_step)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted keys, without `init_args`."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flatten(value, f"{prefix}{key}.").items()}
    if isinstance(config, list):
        return {k: v for index, value in enumerate(config) for k, v in flatten(value, f"{prefix}{index}.").items()}
    return {prefix[:-1].replace("init_args.", ""): config if config is not None else "none"}
