"""TensorBoard's page of hyperparameters."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

METRICS = ("test/acc", "test/loss")


class HyperparameterLogger(Callback):
    """Logs the configuration with the test metrics and the best validation accuracy when a test has ended."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs one row."""
        config = getattr(pl_module, "config", None)
        # Reading the metrics reduces them over all ranks, so all have to read them.
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if name in METRICS}
        if not config or not trainer.is_global_zero:
            return
        best = getattr(trainer.checkpoint_callback, "best", None)
        if best:
            metrics["best/val/acc"] = best.get("val/acc", float("nan"))
        params = flat({key: config[key] for key in ("seed_everything", "model", "data")})
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(params, metrics)
            else:
                logger.log_hyperparams(params)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted keys."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    if isinstance(config, list):
        return {k: v for index, value in enumerate(config) for k, v in flat(value, f"{prefix}{index}.").items()}
    return {prefix[:-1].replace("init_args.", ""): config if config is not None else "none"}
