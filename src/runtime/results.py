"""results.json: the metrics of a run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from src.data import ImageDataModule
from src.errors import UserError
from src.runtime import file_format, run_directory
from src.runtime.run_checkpoints import ends_within_epoch, run_checkpoints_of

# The devices whose allocated memory torch counts.
_COUNTED = ("cuda", "xpu")


class RunResults(Callback):
    """Writes results.json after each epoch, when training ends and when a test ends.

    `fit` and `test` are the results of `python -m src fit`. The `state` of `fit` is `running`, `stopped` (by a signal)
    or `finished`; a run that is `running` although no process writes into its directory died. A test by another command
    is appended to `evaluations`, with what differs from the configuration of the run.
    """

    def __init__(self) -> None:
        self._fitted = False
        self._started = time.perf_counter()
        self._seconds = 0.0  # of the processes before a resume
        self._validated_step = -1
        self._state = ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock, and raises UserError if results.json is damaged."""
        self._fitted = True
        self._started = time.perf_counter()
        if trainer.strategy.root_device.type in _COUNTED:
            torch.accelerator.reset_peak_memory_stats(trainer.strategy.root_device)
        read(Path(trainer.default_root_dir) / run_directory.RESULTS)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        read(Path(trainer.default_root_dir) / run_directory.RESULTS)

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seconds = state_dict["seconds"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_step = trainer.global_step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the run is no longer stopped or finished."""
        self._write_fit(trainer, "running")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the results so far; also those of a training that ends within an epoch before its last checkpoint."""
        ended = ends_within_epoch(trainer)
        self._write_metrics(trainer, "finished" if ended else "running", trainer.current_epoch + (not ended))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the training's results; before its last checkpoint, from which a resume has nothing left to train."""
        self._write_metrics(trainer, "finished", trainer.current_epoch)
        if trainer.is_global_zero and trainer.strategy.root_device.type in _COUNTED:
            peak = torch.accelerator.max_memory_allocated(trainer.strategy.root_device)
            print(f"peak memory of {trainer.strategy.root_device} {peak / 1e9:.2f} GB", flush=True)
            self._write_fit(trainer, "finished", peak_memory=peak)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Notes that a signal stopped the training, see `StopOnSignal`."""
        if self._state == "running" and isinstance(exception, SystemExit):
            self._write_fit(trainer, "stopped")

    def _write_metrics(self, trainer: Trainer, state: str, epochs: int) -> None:
        metrics = rounded(trainer.callback_metrics)  # reduced over all ranks, so all of them read it
        if self._validated_step != trainer.global_step:  # they are of an earlier epoch
            metrics = {name: value for name, value in metrics.items() if not name.startswith("val/")}
        best = next((one.best for one in run_checkpoints_of(trainer) if one.best), None)
        self._write_fit(trainer, state, epochs=epochs, last=metrics, **({"best": rounded(best)} if best else {}))

    def _write_fit(self, trainer: Trainer, state: str, **content: Any) -> None:
        self._state = state
        if trainer.is_global_zero:
            content = {"state": state, "steps": trainer.global_step, "seconds": round(self._elapsed(), 1), **content}
            before = read(Path(trainer.default_root_dir) / run_directory.RESULTS).get("fit", {})
            self._update(trainer, {"fit": before | content})

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the test's results."""
        content: dict[str, Any] = rounded(trainer.callback_metrics)
        if not trainer.is_global_zero:
            return
        directory = Path(trainer.default_root_dir)
        if trainer.ckpt_path:
            path = Path(trainer.ckpt_path)
            content = {"checkpoint": path.name if path.parents[1] == directory else str(path), **content}
        if self._fitted:
            return self._update(trainer, {"test": content})
        config, saved = getattr(pl_module, "config", None), directory / run_directory.CONFIG
        differs = run_directory.diff(file_format.read_config(saved), config) if config and saved.is_file() else []
        now = datetime.now(UTC).isoformat(timespec="seconds")
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        measured = {"data": data.describe()} if isinstance(data, ImageDataModule) else {}
        self._update(trainer, {}, {"time": now, "differs": differs, **measured, **content})

    def _elapsed(self) -> float:
        return self._seconds + time.perf_counter() - self._started

    def _update(self, trainer: Trainer, content: dict[str, Any], evaluation: dict[str, Any] | None = None) -> None:
        path = Path(trainer.default_root_dir) / run_directory.RESULTS
        results = read(path) | content
        if evaluation:
            results["evaluations"] = [*results.get("evaluations", []), evaluation]
        run_directory.write_text(path, json.dumps(results, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The content of results.json; empty if it does not exist. Raises UserError if it is damaged."""
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; rename it, and run the command again") from error


def rounded(metrics: Mapping[str, Tensor | float]) -> dict[str, float | None]:
    """Metrics as JSON numbers, to six digits; null for NaN, as the accuracy of a class without samples."""
    numbers = {name: float(value) for name, value in sorted(metrics.items())}
    return {name: round(value, 6) if math.isfinite(value) else None for name, value in numbers.items()}
