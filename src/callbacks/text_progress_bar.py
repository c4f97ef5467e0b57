"""One plain line an epoch, for logs that are no terminal."""

from __future__ import annotations

import time

from lightning import Callback, LightningModule, Trainer


class TextProgressBar(Callback):
    """Prints how an epoch went when it and its validation have ended."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time, for an epoch that is resumed in its middle."""
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line."""
        # Looking at the metrics gathers them from all processes, so all have to look.
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        shown = [f"{name} {metrics[name]:.4f}" for name in _SHOWN if name in metrics]
        seconds = time.perf_counter() - self._began
        if not trainer.is_global_zero:
            return
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {', '.join(shown)}, {seconds:.1f} s",
            flush=True,
        )


_SHOWN = ("train/loss", "train/acc", "val/loss", "val/acc")
