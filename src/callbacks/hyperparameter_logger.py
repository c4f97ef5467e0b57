"""TensorBoard's hyperparameters."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger


class HyperparameterLogger(Callback):
    """Logs the configuration (`config` of the module) after a test: to TensorBoard's HPARAMS tab with test/acc,
    test/loss and the best val/acc, to other loggers alone."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Reading the metrics reduces them over all ranks, so every rank reads them.
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        config = getattr(pl_module, "config", None)
        if not config or not trainer.is_global_zero:
            return
        metrics = {name: metrics[name] for name in ("test/acc", "test/loss") if name in metrics}
        if best := getattr(trainer.checkpoint_callback, "best", None):
            metrics["best/val/acc"] = best.get("val/acc", float("nan"))
        params = flatten({key: config[key] for key in ("seed_everything", "model", "data")})
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(params, metrics)
            else:
                logger.log_hyperparams(params)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted keys, without `init_args`."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flatten(value, f"{prefix}{key}.").items()}
    if isinstance(config, list):
        return {k: v for index, value in enumerate(config) for k, v in flatten(value, f"{prefix}{index}.").items()}
    return {prefix[:-1].replace("init_args.", ""): config if config is not None else "none"}
