"""results.json: the metrics of a run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.runtime import run_directory
from src.runtime.run_checkpoints import run_checkpoints_of


class RunResults(Callback):
    """Writes results.json when training ends and when a test ends."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the training's results; before its last checkpoint, from which a resume has nothing left to train."""
        metrics = rounded(trainer.callback_metrics)  # reduced over all ranks, so all of them read it
        if not trainer.is_global_zero:
            return
        content: dict[str, Any] = {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(time.perf_counter() - self._started, 1),
            "last": metrics,
        }
        for checkpoints in run_checkpoints_of(trainer):
            if checkpoints.best:
                content["best"] = checkpoints.best
        self._update(trainer, "fit", content)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the test's results."""
        metrics = rounded(trainer.callback_metrics)
        if not trainer.is_global_zero:
            return
        tested = {"checkpoint": Path(trainer.ckpt_path).name} if trainer.ckpt_path else {}
        self._update(trainer, "test", {**tested, **metrics})

    def _update(self, trainer: Trainer, section: str, content: dict[str, Any]) -> None:
        path = Path(trainer.default_root_dir) / run_directory.RESULTS
        results = json.loads(path.read_text()) if path.is_file() else {}
        results[section] = content
        run_directory.write_text(path, json.dumps(results, indent=2) + "\n")


def rounded(metrics: dict[str, Tensor]) -> dict[str, float | None]:
    """Metrics as JSON numbers, to six digits; null for NaN, as the accuracy of a class without samples."""
    return {name: round(float(value), 6) if value.isfinite() else None for name, value in sorted(metrics.items())}
