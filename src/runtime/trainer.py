"""Lightning's Trainer with what every run of this project has: its directory, checkpoints and default callbacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import LearningRateMonitor, ModelSummary, ProgressBar, WeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.model_helpers import is_overridden

from src.callbacks.epoch_progress_bar import EpochProgressBar
from src.callbacks.tensorboard import RunTensorBoardLogger
from src.classifier import Classifier
from src.data import ImageDataModule
from src.errors import UserError
from src.runtime import cpu, job_directory, ranks, rendezvous, run_directory
from src.runtime import resume as resuming
from src.runtime.checkpoint_file import AtomicCheckpointIO, check_same_network, read
from src.runtime.dead_ranks import DeadRankDetector
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.initial_weights import load_initial_weights
from src.runtime.job import Job, check_visible_gpus
from src.runtime.precision import native_precision, on_gpu
from src.runtime.refusals import check_arguments

LOST_LOCK_SECONDS = 300
_DEFAULT_CALLBACKS = DefaultCallbacks()  # of the signature; each trainer makes its own


class Trainer(lightning.Trainer):
    """Lightning's Trainer; its arguments keep their meaning, and a few have other defaults.

    The files of a run (see `src.runtime.run_directory`) go into `default_root_dir`.
    """

    def __init__(
        self,
        *,
        precision: int | str = "auto",
        logger: Logger | list[Logger] | bool | None = None,
        callbacks: list[Callback] | Callback | None = None,
        default_callbacks: DefaultCallbacks = _DEFAULT_CALLBACKS,
        default_root_dir: str | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool = True,
        devices: list[int] | str | int = "auto",
        num_nodes: int | None = None,
        num_sanity_val_steps: int = 0,
        use_distributed_sampler: bool = False,
        sync_batchnorm: bool | None = None,
        plugins: Any = None,
        test_checkpoint: Literal["best", "last"] = "best",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            precision: `auto` is bf16-mixed where the hardware computes bf16 natively, else 32-true; the rest is
                Lightning's.
            logger: null or true is TensorBoard in the run directory, false no logger.
            callbacks: in addition to the default callbacks; one of the same class replaces a default one.
            default_callbacks: the callbacks of every run; null removes one, a class path replaces it.
            default_root_dir: the run directory; on the command line by default `logs/<recipe>/<time>`.
            enable_progress_bar: null shows a progress bar on a terminal, and one among the callbacks anywhere.
            enable_model_summary: print the layers of the network before training.
            devices: per node; auto is as many as SLURM or torchrun has started processes, and all GPUs without them.
            num_nodes: null is as many as SLURM or torchrun has started processes on.
            num_sanity_val_steps: validation steps before training.
            use_distributed_sampler: only false: the data module distributes batches itself, without padding.
            sync_batchnorm: synchronize batch norm across processes; null does on GPUs. torch cannot on a CPU.
            plugins: Lightning's; checkpoints are always written and read by this project's plugin.
            test_checkpoint: the weights that are tested after training, and those of a run that `test`, `validate`
                and `predict` load. Without validation there is only the last.
        """
        cpu.configure()
        accelerator = kwargs.get("accelerator", "auto")
        self.job = Job.of()
        devices, num_nodes = self.job.trainer_devices(devices, num_nodes)
        check_visible_gpus(self.job, accelerator)
        self._chosen = job_directory.choose("python", default_root_dir)
        self.run_directory = directory = self._chosen.path
        self._has_fitted = self._has_met = False
        self.test_checkpoint = test_checkpoint
        self._own_logger = logger is None or logger is True
        if self._own_logger:
            logger = _tensorboard(directory)
        if default_callbacks is _DEFAULT_CALLBACKS:
            default_callbacks = DefaultCallbacks()
        given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks or [])
        check_arguments(given, {"use_distributed_sampler": use_distributed_sampler, **kwargs})
        without = (*(() if logger else (LearningRateMonitor,)), *(() if enable_model_summary else (ModelSummary,)))
        default = default_callbacks.besides(given, without)
        has_bar = any(isinstance(own, ProgressBar) for own in given)
        if enable_progress_bar is None:
            enable_progress_bar = sys.stdout.isatty() or has_bar
        if enable_progress_bar and not has_bar:
            default.append(EpochProgressBar())
        super().__init__(
            precision=native_precision(accelerator) if precision == "auto" else precision,  # pyright: ignore[reportArgumentType]
            logger=logger,
            callbacks=given + default,
            default_root_dir=directory,
            enable_progress_bar=enable_progress_bar,
            enable_model_summary=False,  # the default callbacks have one
            devices=devices,  # pyright: ignore[reportArgumentType]
            num_nodes=num_nodes,
            num_sanity_val_steps=num_sanity_val_steps,
            use_distributed_sampler=use_distributed_sampler,
            plugins=[*self.job.plugins(plugins), AtomicCheckpointIO()],
            sync_batchnorm=on_gpu(accelerator) if sync_batchnorm is None else sync_batchnorm,
            **kwargs,
        )

    def fit(
        self,
        model: LightningModule,
        *args: Any,
        ckpt_path: str | None = None,
        resume: str | None = None,
        test_after_fit: bool = True,
        **kwargs: Any,
    ) -> None:
        """Trains a network, saves its best and last weights, and tests them at the end.

        Args:
            model: what to train.
            ckpt_path: a checkpoint from which a new run continues, with its optimizer and epoch.
            resume: the run to resume in its own directory and with its configuration: its path, `recipe/run`, or
                `recipe` for the latest. Other arguments of the command line override its configuration.
            test_after_fit: test on the official test set after training.
        """
        if ckpt_path == "last":
            resume, ckpt_path = str(self.run_directory), None
        if not resume and not self._has_fitted and self._chosen.resumable:
            resume = str(self.run_directory)
        if resume:
            self.run_directory = run_directory.find(resume)
        with self._held():
            if not resume and not self._has_fitted and self.is_global_zero:
                if not self._chosen.interrupted:
                    run_directory.check_is_new(self.run_directory)
                self._chosen.claim()
            self._fit(model, *args, ckpt_path=ckpt_path, resume=bool(resume), **kwargs)
            data = self.datamodule  # pyright: ignore[reportAttributeAccessIssue]
            has_test = getattr(data, "has_test", data is not None and is_overridden("test_dataloader", data))
            if test_after_fit and not has_test:
                rank_zero_info("the dataset has no test set: no test")
            elif test_after_fit and not self.interrupted and not self.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
                tested = run_directory.find_best_or_last(self.run_directory, self.test_checkpoint)
                super().test(model, datamodule=data, ckpt_path=self._weights(model, None, str(tested)))

    def _fit(self, model: LightningModule, *args: Any, ckpt_path: str | None, resume: bool, **kwargs: Any) -> None:
        step = None
        if resume or ckpt_path:
            ckpt_path, step = self._resume_checkpoint(model, resume, ckpt_path)
        elif isinstance(model, Classifier) and model.init_from:
            rank_zero_info("\n".join(load_initial_weights(model, model.init_from)))
        if self._own_logger and (resume or self._chosen.interrupted):
            # TensorBoard drops the steps after the checkpoint, since they are logged again.
            self.logger = _tensorboard(self.run_directory, purge_step=step or 0)
        self._meet(kwargs.get("datamodule"))
        try:
            super().fit(model, *args, ckpt_path=ckpt_path, **kwargs)
        except Exception as error:
            registries = [one.registry for one in self.callbacks if isinstance(one, DeadRankDetector)]  # pyright: ignore[reportAttributeAccessIssue]
            if not ranks.is_lost_connection(error) or not registries or registries[0] is None:
                raise
            raise ranks.lost(registries[0], self.run_directory) from error
        finally:
            self._has_fitted = True
        if self.global_step == step:
            epochs = self.fit_loop.epoch_progress.current.processed  # pyright: ignore[reportAttributeAccessIssue]
            rank_zero_info(
                f"nothing is left to train after {epochs} epochs and {step} steps, with trainer.max_epochs "
                f"{self.max_epochs} and trainer.max_steps {self.max_steps}"
            )
        if resume and self._own_logger:
            self.logger = _tensorboard(self.run_directory)  # one that drops nothing, for the test

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Keeps other processes from writing into the run directory."""
        replace(self._chosen, path=self.run_directory).export_to_children()
        # The lock of a node that was lost lasts until the file system notices.
        seconds = LOST_LOCK_SECONDS if self._chosen.interrupted else 0
        with run_directory.held(self.run_directory, seconds) if self.is_global_zero else nullcontext():
            yield

    def _meet(self, data: LightningDataModule | None = None) -> None:
        """Prepares the data before the ranks are connected, since that may take longer than they wait for each other,
        and waits for the other processes of the job, of which one may have refused to start."""
        if not self._has_met:
            rank_zero_info(self._describe(data))
        self._has_met = True
        if isinstance(data, ImageDataModule) and self.local_rank == 0:
            data.prepare_data()
        if met := rendezvous.current():
            met.meet()

    def _describe(self, data: LightningDataModule | None) -> str:
        device = type(self.accelerator).__name__.removesuffix("Accelerator")
        parts = [f"run directory {self.run_directory}", f"{self.world_size} x {device}"]
        if self.num_nodes > 1:
            parts[-1] += f" on {self.num_nodes} nodes"
        parts.append(f"precision {self.precision}")
        if isinstance(data, ImageDataModule):
            shard = f", {data.batch_size / self.world_size:g} for each device" if self.world_size > 1 else ""
            parts.append(f"batch of {data.batch_size} images{shard}")
        if self.job.name:
            parts.append(f"started by {self.job}")
        return ", ".join(parts)

    @property
    def default_root_dir(self) -> str:
        """The run directory, which `fit` changes where it resumes another one."""
        return str(self.run_directory)

    def _resume_checkpoint(self, model: LightningModule, resume: bool, ckpt_path: Any) -> tuple[str, int]:
        """The checkpoint from which training continues, checked before anything is written, and its step."""
        messages: list[str] = []
        if resume:
            path, saved, messages = resuming.latest_checkpoint(self.run_directory, rename_damaged=self.is_global_zero)
            ckpt_path = str(path)
        else:
            saved = read(ckpt_path)
        averaged = any(isinstance(callback, WeightAveraging) for callback in self.callbacks)  # pyright: ignore[reportAttributeAccessIssue]
        resuming.check_resumable(model, saved, ckpt_path, averaged=averaged)
        messages.append(f"resumes from {ckpt_path}: epoch {saved['epoch']}, step {saved['global_step']}")
        if self.is_global_zero:
            print("\n".join(messages), flush=True)
        return ckpt_path, saved["global_step"]

    def validate(
        self,
        model: LightningModule | None = None,
        *args: Any,
        ckpt_path: str | None = None,
        run: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates a run on its validation samples.

        Args:
            model: what to evaluate.
            ckpt_path: the checkpoint whose weights to load.
            run: the run whose configuration and weights to load: its path, `recipe/run`, or `recipe` for the latest.
        """
        ckpt_path = self._weights(model, run, ckpt_path)
        if ckpt_path and model is not None:
            resuming.check_same_split(model, read(ckpt_path))
        self._meet(kwargs.get("datamodule"))
        metrics = super().validate(model, *args, ckpt_path=ckpt_path, **kwargs)
        if not metrics:
            raise UserError("there are no validation samples; data.val_fraction is the fraction to keep for validation")
        return metrics

    def test(
        self,
        model: LightningModule | None = None,
        *args: Any,
        ckpt_path: str | None = None,
        run: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates a run on the official test set.

        Args:
            model: what to evaluate.
            ckpt_path: the checkpoint whose weights to load.
            run: the run whose configuration and weights to load: its path, `recipe/run`, or `recipe` for the latest.
        """
        with self._held():
            ckpt_path = self._weights(model, run, ckpt_path)
            self._meet(kwargs.get("datamodule"))
            metrics = super().test(model, *args, ckpt_path=ckpt_path, **kwargs)
            if not metrics:
                raise UserError("nothing is tested, as trainer.limit_test_batches is 0, or there are no test samples")
            return metrics

    def predict(
        self,
        model: LightningModule | None = None,
        *args: Any,
        ckpt_path: str | None = None,
        run: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Predicts the classes of image files, or of the official test set of a run.

        Of a test set, it writes predictions.csv into the run directory.

        Args:
            model: what predicts.
            ckpt_path: the checkpoint whose weights to load.
            run: the run whose configuration and weights to load: its path, `recipe/run`, or `recipe` for the latest.
        """
        with self._held():
            ckpt_path = self._weights(model, run, ckpt_path)
            self._meet(kwargs.get("datamodule"))
            return super().predict(model, *args, ckpt_path=ckpt_path, **kwargs)

    def _weights(self, model: LightningModule | None, run: str | None, ckpt_path: Any) -> Any:
        """The checkpoint of an evaluation, found intact and of this network before anything is written."""
        missing = ""
        if ckpt_path in ("best", "last"):  # of this trainer's run, as Lightning's
            ckpt_path = str(run_directory.find_checkpoint(self.run_directory, f"{ckpt_path}.ckpt"))
        elif not ckpt_path and (run or (model is None and self._has_fitted)):
            directory = run_directory.find(run) if run else self.run_directory
            path = run_directory.find_best_or_last(directory, self.test_checkpoint)
            missing = "" if self.test_checkpoint in path.name else ", as there is no best.ckpt"
            ckpt_path = str(path)
        if ckpt_path:
            saved = read(ckpt_path)
            if model is not None:
                check_same_network(model.state_dict(), saved["state_dict"], ckpt_path)
            place = f"epoch {saved.get('epoch')}, step {saved.get('global_step')}"
            rank_zero_info(f"weights of {ckpt_path}{missing}: {place}")
        return ckpt_path


def _tensorboard(directory: Path, **kwargs: Any) -> RunTensorBoardLogger:
    return RunTensorBoardLogger(directory, name="", version="", default_hp_metric=False, **kwargs)
