"""The files that tell what a run was and what came of it: manifest.json and results.json."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from src import manifest, resume, run
from src.callbacks.checkpoints import checkpoints_of


class Records(Callback):
    """Writes manifest.json when a fit begins, results.json when training or a test ends, and the results with
    the hyperparameters to TensorBoard."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the manifest; that of a resumed run keeps what it began with, and tells what differs."""
        self._began = time.perf_counter()
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if not trainer.is_global_zero or data is None:
            return
        content = manifest.collect(data.seed, data.describe())
        content["precision"] = str(trainer.precision)
        content["processes"] = trainer.world_size
        path = Path(trainer.default_root_dir) / run.MANIFEST
        if trainer.ckpt_path and path.is_file():
            began = json.loads(path.read_text())
            for line in resume.differences(began, content):
                print(f"differs from when the run began: {line}", flush=True)
            content = {**began, "resumed": [*began.get("resumed", []), content]}
        run.write(path, json.dumps(content, indent=2) + "\n")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what training came to; before its last checkpoint, after which a resume has nothing left to train."""
        metrics = numbers(trainer.callback_metrics)  # gathered from all processes, so before they part
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self._began
        content: dict[str, Any] = {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(seconds, 1),
            "last": metrics,
        }
        for checkpoints in checkpoints_of(trainer):
            if checkpoints.best:
                content["best"] = checkpoints.best
        self._update(trainer, "fit", content)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes what the test came to."""
        metrics = numbers(trainer.callback_metrics)
        if not trainer.is_global_zero:
            return
        tested = {"checkpoint": Path(trainer.ckpt_path).name} if trainer.ckpt_path else {}
        content = self._update(trainer, "test", {**tested, **metrics})
        self._log_hyperparameters(trainer, pl_module, content)

    def _update(self, trainer: Trainer, part: str, content: dict[str, Any]) -> dict[str, Any]:
        path = Path(trainer.default_root_dir) / run.RESULTS
        results = json.loads(path.read_text()) if path.is_file() else {}
        results[part] = content
        run.write(path, json.dumps(results, indent=2) + "\n")
        return results

    def _log_hyperparameters(self, trainer: Trainer, pl_module: LightningModule, results: dict[str, Any]) -> None:
        config = getattr(pl_module, "config", None)
        if not config:
            return
        metrics = {name: value for name, value in results["test"].items() if name in ("test/acc", "test/loss")}
        if best := results.get("fit", {}).get("best"):
            metrics["best/val/acc"] = best.get("val/acc", float("nan"))
        params = flat({key: config[key] for key in ("seed_everything", "model", "data")})
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(params, metrics)
            else:
                logger.log_hyperparams(params)


def numbers(metrics: dict[str, Tensor]) -> dict[str, float]:
    """Metrics as JSON has them, to six digits."""
    return {name: round(float(value), 6) for name, value in sorted(metrics.items())}


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted keys, as TensorBoard's table of hyperparameters has them."""
    if isinstance(config, dict):
        return {k: v for key, value in config.items() for k, v in flat(value, f"{prefix}{key}.").items()}
    if isinstance(config, list):
        return {k: v for number, value in enumerate(config) for k, v in flat(value, f"{prefix}{number}.").items()}
    return {prefix[:-1].replace("init_args.", ""): config if config is not None else "none"}
