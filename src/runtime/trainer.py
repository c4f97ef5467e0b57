"""Lightning's Trainer with what every run of this project has: its directory, checkpoints and records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar, RichProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from src.callbacks.augmentation_preview import AugmentationPreview
from src.callbacks.confusion_matrix import ConfusionMatrix
from src.callbacks.data_dependent_init import DataDependentInit
from src.callbacks.ema import EMA
from src.callbacks.hyperparameters import HyperparameterLogger
from src.callbacks.prediction_writer import PredictionWriter
from src.callbacks.summary import Summary
from src.callbacks.text_progress_bar import TextProgressBar
from src.errors import UserError
from src.runtime import cpu, ranks, run_directory
from src.runtime import resume as resuming
from src.runtime.batch_norm_sync import BatchNormSync
from src.runtime.checkpoint_file import AtomicCheckpointIO, check_same_network, read
from src.runtime.dead_ranks import DeadRankDetector
from src.runtime.finite_loss import FiniteLoss
from src.runtime.manifest import RunManifest
from src.runtime.results import RunResults
from src.runtime.run_checkpoints import RunCheckpoints, run_checkpoints_of
from src.runtime.step_seed import StepSeed
from src.runtime.stop_on_signal import StopOnSignal

# Lightning's own, and auto.
Precision = Literal[
    "auto",
    "bf16-mixed",
    "bf16-true",
    "16-mixed",
    "16-true",
    "32-true",
    "64-true",
    "bf16",
    "16",
    "32",
    "64",
    16,
    32,
    64,
]


def on_gpu(accelerator: Any = "auto") -> bool:
    """Whether an accelerator argument means CUDA on this machine."""
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def native_precision(accelerator: Any = "auto") -> Literal["bf16-mixed", "32-true"]:
    """bf16 where the processor computes it natively, else float32.

    Natively: on a GPU from compute capability 8.0 (Ampere) on, on a CPU with AMX or AVX512-BF16.
    """
    if on_gpu(accelerator):
        native = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return "bf16-mixed" if native else "32-true"


class Trainer(lightning.Trainer):
    """Lightning's Trainer; its arguments keep their meaning, and a few have other defaults.

    What a run is (see `src.runtime.run_directory`) goes into `default_root_dir`.
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
        sync_batchnorm: bool | None = None,
        plugins: Any = None,
        checkpoint_every_n_steps: int | None = None,
        checkpoint_every_n_minutes: float | None = None,
        test_checkpoint: Literal["best", "last"] = "best",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            precision: `auto` is bf16-mixed where the hardware computes bf16 natively, else 32-true; the rest is
                Lightning's.
            logger: none or True is TensorBoard in the run directory, False no logger.
            callbacks: more callbacks, beside those that every run has; one of the same class replaces one.
            default_root_dir: the run directory; on the command line, without it, `logs/<recipe>/<time>`.
            enable_progress_bar: none shows bars on a terminal and one plain line an epoch elsewhere.
            num_sanity_val_steps: validation steps before training.
            sync_batchnorm: normalize by the whole batch of all processes; none does on GPUs. torch cannot on a CPU.
            plugins: Lightning's; beside them checkpoints are written and read in this project's way.
            checkpoint_every_n_steps: also write last.ckpt after so many steps; none writes it once an epoch.
            checkpoint_every_n_minutes: the same, when so many minutes have passed since it was written.
            test_checkpoint: which weights are tested when training has ended, and taken of a run by `test`,
                `validate` and `predict`. Without validation there is only the last.
        """
        cpu.configure()
        directory = Path(default_root_dir) if default_root_dir else run_directory.new("python")
        self.test_checkpoint = test_checkpoint
        self._own_logger = logger is None or logger is True
        if self._own_logger:
            logger = _tensorboard(directory)
        bars = sys.stdout.isatty() if enable_progress_bar is None else enable_progress_bar
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        progress: list[Callback] = [RichProgressBar() if bars else TextProgressBar()]
        standard: list[Callback] = [
            DataDependentInit(),
            StepSeed(),
            DeadRankDetector(),
            FiniteLoss(),
            Summary(),
            *([] if any(isinstance(callback, ProgressBar) for callback in given) else progress),
            BatchNormSync(),
            RunManifest(),
            RunResults(),
            HyperparameterLogger(),
            StopOnSignal(),  # which, when training has ended, lets the records be written first
            ConfusionMatrix(),
            PredictionWriter(),
            RunCheckpoints(
                directory, every_n_steps=checkpoint_every_n_steps, every_n_minutes=checkpoint_every_n_minutes
            ),
        ]
        if logger:
            standard += [LearningRateMonitor("step"), AugmentationPreview()]
        super().__init__(
            precision=native_precision(kwargs.get("accelerator", "auto")) if precision == "auto" else precision,
            logger=logger,
            callbacks=given + [own for own in standard if not any(type(own) is type(other) for other in given)],
            default_root_dir=directory,
            enable_progress_bar=bars,
            enable_model_summary=False,  # `Summary` prints the network's own layers instead
            num_sanity_val_steps=num_sanity_val_steps,
            # The data module shares batches between the processes itself, without padding.
            use_distributed_sampler=False,
            plugins=[*(plugins if isinstance(plugins, list) else [plugins] if plugins else []), AtomicCheckpointIO()],
            sync_batchnorm=on_gpu(kwargs.get("accelerator", "auto")) if sync_batchnorm is None else sync_batchnorm,
            **kwargs,
        )
        device = f"{self.world_size} x {type(self.accelerator).__name__.removesuffix('Accelerator')}"
        rank_zero_info(f"run directory {directory}, {device}, precision {self.precision}")

    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
        *,
        resume: str | None = None,
        test_after_fit: bool = True,
    ) -> None:
        """Trains a network, keeps its best and last weights, and tests them at the end.

        Args:
            model: what to train.
            train_dataloaders: instead of a data module's.
            val_dataloaders: instead of a data module's.
            datamodule: the data.
            ckpt_path: a checkpoint to go on from in a new run directory, optimizer and epoch included.
            weights_only: of no effect: no checkpoint is ever loaded with more than plain data.
            resume: a run to go on with in its own directory and with its configuration: its path, `recipe/run`, or
                `recipe` for the latest. What the command line says besides wins.
            test_after_fit: test on the official test set when training has ended.
        """
        directory = Path(self.default_root_dir)
        source = getattr(model, "init_from", None)
        if source and not resume and not ckpt_path:
            resuming.load_initial_weights(model, source)
        if resume or ckpt_path:
            ckpt_path, saved = self._resume_checkpoint(model, resume, ckpt_path)
            if resume and self._own_logger:
                # Points count from 0: those from here on are drawn again, and TensorBoard forgets the first drawing.
                self.logger = _tensorboard(directory, purge_step=saved["global_step"])
        try:
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, ckpt_path)
        except Exception as error:
            rolls = [own.rank_registry for own in self.callbacks if isinstance(own, DeadRankDetector)]  # pyright: ignore[reportAttributeAccessIssue]
            if not ranks.is_lost_connection(error) or not rolls or rolls[0] is None:
                raise
            raise ranks.lost(rolls[0], directory) from error
        if resume and self._own_logger:
            self.logger = _tensorboard(directory)  # one that forgets nothing, for what the test draws
        if test_after_fit and not getattr(datamodule, "has_test", True):
            rank_zero_info("the data have no test set, so there is no test")
            return
        if test_after_fit and not self.interrupted and not self.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            # Not a best.ckpt of whatever else lies in the directory.
            kept = any(checkpoints.best for checkpoints in run_checkpoints_of(self))
            tested = run_directory.find_checkpoint(
                directory, f"{self.test_checkpoint}.ckpt" if kept else run_directory.LAST, run_directory.LAST
            )
            self.test(model, datamodule=datamodule, ckpt_path=str(tested))

    def _resume_checkpoint(
        self, model: LightningModule, resume: str | None, ckpt_path: Any
    ) -> tuple[str, dict[str, Any]]:
        """The checkpoint to go on from, found fit for it before anything is written; the first process tells."""
        complaints: list[str] = []
        if resume:
            path, saved, complaints = resuming.latest(run_directory.find(resume), rename_damaged=self.is_global_zero)
            ckpt_path = str(path)
        else:
            saved = read(ckpt_path)
        resuming.check(model, saved, ckpt_path, averaged=any(isinstance(own, EMA) for own in self.callbacks))  # pyright: ignore
        if self.is_global_zero:
            for complaint in complaints:
                print(complaint, flush=True)
            print(f"going on from {ckpt_path}: epoch {saved['epoch']}, step {saved['global_step']}", flush=True)
        return ckpt_path, saved

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
        *,
        run: str | None = None,
    ) -> Any:
        """Measures a run on its validation samples.

        Args:
            model: what is measured.
            dataloaders: instead of a data module's.
            ckpt_path: the checkpoint whose weights to take.
            verbose: print the metrics.
            datamodule: the data.
            weights_only: of no effect: no checkpoint is ever loaded with more than plain data.
            run: the run whose configuration and weights to take: its path, `recipe/run`, or `recipe` for the latest.
        """
        measured = super().validate(model, dataloaders, self._weights(model, run, ckpt_path), verbose, datamodule)
        if not measured:
            raise UserError("there are no validation samples to measure on; data.val_fraction says how many to keep")
        return measured

    def test(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: Any = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
        *,
        run: str | None = None,
    ) -> Any:
        """Measures a run on the official test set.

        Args:
            model: what is measured.
            dataloaders: instead of a data module's.
            ckpt_path: the checkpoint whose weights to take.
            verbose: print the metrics.
            datamodule: the data.
            weights_only: of no effect: no checkpoint is ever loaded with more than plain data.
            run: the run whose configuration and weights to take: its path, `recipe/run`, or `recipe` for the latest.
        """
        return super().test(model, dataloaders, self._weights(model, run, ckpt_path), verbose, datamodule)

    def predict(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
        *,
        run: str | None = None,
    ) -> Any:
        """Writes predictions.csv for the official test set into the run directory.

        Args:
            model: what predicts.
            dataloaders: instead of a data module's.
            datamodule: the data.
            return_predictions: also return them, to Python.
            ckpt_path: the checkpoint whose weights to take.
            weights_only: of no effect: no checkpoint is ever loaded with more than plain data.
            run: the run whose configuration and weights to take: its path, `recipe/run`, or `recipe` for the latest.
        """
        return super().predict(model, dataloaders, datamodule, return_predictions, self._weights(model, run, ckpt_path))

    def _weights(self, model: LightningModule | None, run: str | None, ckpt_path: Any) -> Any:
        if run and not ckpt_path:
            ckpt_path = str(
                run_directory.find_checkpoint(
                    run_directory.find(run), f"{self.test_checkpoint}.ckpt", run_directory.LAST, run_directory.PREVIOUS
                )
            )
        if ckpt_path:  # found to be whole and of this network before anything is written
            saved = read(ckpt_path)
            if model is not None:
                check_same_network(model.state_dict(), saved["state_dict"], ckpt_path)
        return ckpt_path


def _tensorboard(directory: Path, **kwargs: Any) -> TensorBoardLogger:
    return TensorBoardLogger(directory, name="", version="", default_hp_metric=False, **kwargs)
