"""One line of text per epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lightning import Callback, LightningModule, Trainer

METRICS = ("train/loss", "train/acc", "train/map", "val/loss", "val/acc", "val/map", "val/f1")


class TextProgressBar(Callback):
    """Prints one line after each epoch: `epoch 5/20: train/loss 0.4120, val/acc 0.8312, 12.3 s`.

    The lines stay in log files and, above the progress bar, in a terminal.
    """

    def __init__(self, metrics: Sequence[str] = METRICS) -> None:
        """
        Args:
            metrics: names of the metrics to print, if they are logged. Those that start with `val` are printed after
                the epochs with a validation.
        """
        self.metrics = metrics

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start, self._validated = time.perf_counter(), False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Reading the metrics reduces them over all ranks, so every rank reads them.
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        names = [name for name in self.metrics if name in values and (self._validated or not name.startswith("val"))]
        start, self._start, self._validated = self._start, time.perf_counter(), False
        if trainer.is_global_zero:
            of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
            shown = [*(f"{name} {values[name]:.4f}" for name in names), f"{self._start - start:.1f} s"]
            line = f"epoch {trainer.current_epoch + 1}{of}: {', '.join(shown)}"
            bar = trainer.progress_bar_callback
            if bar and getattr(bar, "is_enabled", True):
                bar.print(line)
            else:
                print(line, flush=True)
