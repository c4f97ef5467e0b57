"""Lightning's Trainer with what every run of this project has: its directory, checkpoints and records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from src import checkpoint, run
from src.callbacks.checkpoints import Checkpoints
from src.callbacks.confusion import ConfusionMatrix
from src.callbacks.epoch_lines import EpochLines
from src.callbacks.finite_loss import FiniteLoss
from src.callbacks.pictures import TrainingPictures
from src.callbacks.records import Records
from src.callbacks.step_seed import StepSeed
from src.callbacks.summary import Summary
from src.checkpoint import AtomicCheckpointIO

Precision = Literal[
    "auto", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "32-true", "64-true", "bf16", "16", "32", "64", 16, 32, 64
]


def native_precision(accelerator: str = "auto") -> Literal["bf16-mixed", "32-true"]:
    """bf16 where the processor computes it natively, else float32.

    Natively: on a GPU from compute capability 8.0 (Ampere) on, on a CPU with AMX or AVX512-BF16.
    """
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        native = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return "bf16-mixed" if native else "32-true"


class Trainer(lightning.Trainer):
    """Lightning's Trainer; its arguments keep their meaning, and some have other defaults.

    It writes what a run is (see `src.run`) into `default_root_dir`.
    """

    def __init__(
        self,
        *,
        precision: Precision = "auto",
        logger: Logger | list[Logger] | bool | None = None,
        callbacks: list[Callback] | Callback | None = None,
        default_root_dir: str | None = None,
        enable_progress_bar: bool | None = None,
        num_sanity_val_steps: int = 0,
        checkpoint_every_n_steps: int | None = None,
        test_checkpoint: Literal["best", "last"] = "best",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            precision: `auto` is bf16-mixed where the hardware computes bf16 natively, else 32-true; the rest is
                Lightning's.
            logger: none or True is TensorBoard in the run directory, False no logger.
            callbacks: more callbacks, beside those that every run has.
            default_root_dir: the run directory.
            enable_progress_bar: none shows bars on a terminal and one plain line an epoch elsewhere.
            num_sanity_val_steps: validation steps before training.
            checkpoint_every_n_steps: also write last.ckpt after so many steps; none writes it once an epoch.
            test_checkpoint: which weights `fit` tests at its end, and `test`, `validate` and `predict` take of a
                run; without validation there is only the last.
        """
        directory = Path(default_root_dir or "logs/python/run")
        if precision == "auto":
            precision = native_precision(kwargs.get("accelerator", "auto"))
        if logger is None or logger is True:
            logger = TensorBoardLogger(directory, name="", version="", default_hp_metric=False)
        bars = sys.stdout.isatty() if enable_progress_bar is None else enable_progress_bar
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        standard: list[Callback] = [
            StepSeed(),
            FiniteLoss(),
            Summary(),
            RichProgressBar() if bars else EpochLines(),
            Records(),
            ConfusionMatrix(),
            Checkpoints(directory, every_n_steps=checkpoint_every_n_steps),
        ]
        if logger:
            standard += [LearningRateMonitor("step"), TrainingPictures()]
        self.test_checkpoint = test_checkpoint
        super().__init__(
            precision=precision,
            logger=logger,
            # A callback that was given replaces the one of its kind.
            callbacks=given + [own for own in standard if not any(type(own) is type(other) for other in given)],
            default_root_dir=directory,
            enable_progress_bar=bars,
            enable_model_summary=False,  # `Summary` prints the network's own layers instead
            num_sanity_val_steps=num_sanity_val_steps,
            # The data module shares batches between the processes itself, without padding.
            use_distributed_sampler=False,
            plugins=[AtomicCheckpointIO()],
            **kwargs,
        )
        rank_zero_info(f"run directory: {directory}, precision: {precision}")

    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
        *,
        resume: str | None = None,
        test_after_fit: bool = True,
    ) -> None:
        """Trains, keeps the best and the last checkpoint, and tests the best.

        Args:
            model: what to train.
            train_dataloaders: instead of a data module's.
            val_dataloaders: instead of a data module's.
            datamodule: the data.
            ckpt_path: a checkpoint to go on from, in a new run directory.
            weights_only: of no effect: no checkpoint is ever loaded with more than plain data.
            resume: a run (its directory, `recipe/run`, or `recipe` for the latest) to go on with, in its own
                directory and with its configuration; what the command line says besides wins.
            test_after_fit: at the end test the best checkpoint on the official test set.
        """
        if resume:
            ckpt_path = str(run.checkpoint(run.find(resume), run.LAST))
        super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path)
        if test_after_fit and not self.interrupted:
            directory = Path(self.default_root_dir)
            tested = run.checkpoint(directory, f"{self.test_checkpoint}.ckpt", run.LAST)
            self.test(model, datamodule=datamodule, ckpt_path=tested)
