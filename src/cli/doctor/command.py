"""`python -m src doctor`: reports what would keep a training from starting or finishing, without training."""

from __future__ import annotations

import itertools
import logging
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser

from src.cli.argument_checks import check_duration
from src.cli.command_line import CLI
from src.cli.doctor import images, machine, training
from src.cli.doctor.finding import Finding, Note, check, report
from src.runtime import file_format, run_directory
from src.runtime.checkpoint_file import check_same_network, read
from src.runtime.initial_weights import load_initial_weights
from src.runtime.job import Job
from src.runtime.resume import check_resumable, latest_checkpoint
from src.runtime.trainer import Trainer


class DoctorCLI(CLI):
    """Builds what `fit` builds, the trainer last, since its constructor may raise what is to be reported. It has no
    subcommands, which are methods of a trainer."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, run=False, prog="python -m src doctor", about="Checks a machine and a configuration.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the arguments of `fit`, and `--run` of `test`."""
        super().add_arguments_to_parser(parser)
        parser.add_method_arguments(Trainer, "fit", skip=set(self.subcommands()["fit"]))
        parser.add_argument("--run", type=str | None, help="the run whose weights to check, as of `test`.")
        parser.add_argument(
            "--duplicates",
            type=str | None,
            help="CSV file to write: equal and similar images within and across training, validation and test. "
            "Prepares the dataset as fit does.",
        )

    def before_instantiate_classes(self) -> None:
        self._settle(self.config)
        self.directory = self.directory or run_directory.LOGS / self.recipe  # creates none

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Returns None; `_build_trainer` builds it."""

    def findings(self) -> Iterator[Finding]:
        assert self.directory is not None
        config, directory, model, data = self.config, self.directory, self.model, self.datamodule
        existing = self.source is not None
        yield check("configuration", self._check_configuration)
        if self.source:
            saved = file_format.read_config(self.source / run_directory.CONFIG)
            for line in run_directory.diff(saved, self.experiment):
                yield Finding("note", "configuration", f"differs from the saved one: {line}")
        devices, nodes = config.trainer.devices, config.trainer.num_nodes
        yield (found := check("processes", machine.processes, devices, nodes, config.trainer.accelerator))
        per_node, nodes = int(devices) if str(devices).isdigit() else 1, nodes or 1
        if found.level != "FAIL":
            yield check("trainer", self._build_trainer)
            if self.trainer:
                per_node, nodes = self.trainer.num_devices, self.trainer.num_nodes
        else:  # one process suffices to check the rest
            check("trainer", partial(self._build_trainer, devices=1, num_nodes=1))
        per_node = max(1, per_node)
        if self.trainer:
            yield check("precision", machine.precision, config.trainer.precision, config.trainer.accelerator)
        callbacks = self.config_init["trainer"]["callbacks"]
        callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
        averaged = any(isinstance(own, WeightAveraging) for own in callbacks)
        if existing or config.ckpt_path or config.model.init_from:
            yield check("checkpoint", self._check_checkpoint, averaged)
        if config.duplicates:
            data.prepare_data()
        yield (found := check("data", training.dataset, data))
        if missing := found.level == "note" and data.pending_preparation():
            yield check("folder", machine.writable, missing.folder, "data.data_dir")
            yield check("disk", machine.disk, missing.folder, missing.bytes, "the dataset")
        if found.level == "ok":
            yield check("classes", images.classes, data)
            if config.duplicates:
                yield check("duplicates", images.duplicates, data, Path(config.duplicates))
            yield check("memory", machine.memory, training.dataset_bytes(data), per_node, machine.available_memory())
            yield check("batches", training.batches, data, per_node * nodes)
            if self.trainer:
                yield (found := check("network", training.network, self.trainer, model, data, per_node * nodes))
                if found.level == "ok":
                    yield check("memory format", training.memory_format, model, data)
        if run_directory.is_run(directory) and not existing:
            yield Finding("FAIL", "folder", f"{directory} already holds a run; resume it with --resume {directory}")
        else:
            yield check("folder", machine.writable, directory, "trainer.default_root_dir")
        yield check("loss and metrics", training.task, model)
        yield (found := check("optimizer", training.optimizer, model))
        if found.level == "ok":
            if self.trainer and hasattr(data, "train_indices"):
                yield check("schedule", training.schedule, self.trainer, model, data)
            yield check("disk", training.checkpoint_disk, model, directory, averaged)

    def _check_configuration(self) -> str:
        if not self.config.run:
            check_duration(self.config.trainer)
        return f"{type(self.model.net).__name__} and {type(self.datamodule).__name__} can be built"

    def _build_trainer(self, **arguments: Any) -> str:
        logging.disable(logging.INFO)  # the findings report what Lightning logs
        try:
            self.trainer = super().instantiate_trainer(**arguments)
        finally:
            logging.disable(logging.NOTSET)
        accelerator = type(self.trainer.accelerator)
        available = "" if accelerator is CPUAccelerator else f" of {accelerator.auto_device_count()}"
        name = accelerator.__name__.removesuffix("Accelerator")
        return f"{self.trainer.num_devices}{available} x {name} per node, {self.trainer.num_nodes} node(s)"

    def _check_checkpoint(self, averaged: bool) -> str:
        """Whether the checkpoint is there, intact, and of this network, and whether training can resume from it."""
        config, notes = self.config, []
        if self.source and config.resume:
            path, saved, notes = latest_checkpoint(self.source, rename_damaged=False)
        else:
            if self.source:
                path = run_directory.find_best_or_last(self.source, config.trainer.test_checkpoint)
            elif not config.ckpt_path:
                return "; ".join(
                    load_initial_weights(self.model, str(run_directory.find_weights(config.model.init_from)))
                )
            else:
                path = Path(config.ckpt_path)
            saved = read(path)
        if config.run:
            check_same_network(self.model.state_dict(), saved["state_dict"], str(path))
            return f"{path} is intact and of this network"
        check_resumable(self.model, saved, str(path), averaged=averaged)
        # An epoch counts as processed at its end.
        epochs = saved["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        text = (
            f"{path} is intact, of this network and optimizer, after {epochs} epochs and {saved['global_step']} steps"
        )
        if 0 <= (config.trainer.max_epochs or -1) <= epochs:
            notes = [*notes, f"trainer.max_epochs {config.trainer.max_epochs} is reached"]
        return Note("; ".join([*notes, text])) if notes else text


def examine(arguments: list[str]) -> int:
    """Checks the machine, and the configuration if there is one; returns the exit code."""
    job = Job.of()
    if job.local_rank > 0:
        return 0  # the first process of each node reports, on all nodes but the first only what fails
    checks = DoctorCLI(arguments).findings() if len(arguments) > 1 else _defaults()  # raises what `fit` raises
    findings = itertools.chain([check("machine", machine.machine)], checks)
    return report(findings, failures_of=socket.gethostname() if job.rank > 0 else "")


def _defaults() -> Iterator[Finding]:
    """What a recipe without these arguments would use."""
    yield check("precision", machine.precision, "auto", "auto")
    yield check("folder", machine.writable, run_directory.LOGS, "trainer.default_root_dir")
    yield check("processes", machine.processes, "auto", None)
