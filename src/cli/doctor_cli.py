"""`python -m src doctor`: what is found of a machine, and of a configuration on it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from src.callbacks.ema import EMA
from src.cli import doctor
from src.cli.command_line import CLI, check_duration, named_in
from src.cli.finding import Finding, report
from src.errors import UserError
from src.runtime import file_format, run_directory
from src.runtime.checkpoint_file import read
from src.runtime.resume import latest_checkpoint
from src.runtime.trainer import Trainer


class Examination(CLI):
    """`python -m src doctor`: builds what `fit` would build, the trainer last, and begins nothing. Lightning's
    subcommands are methods of a trainer, which cannot be built where devices are missing; this has none."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(args, run=False, prog="python -m src doctor", about="Checks a machine and a configuration.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Those of `fit`, since a recipe may name them, and what `test` can begin from."""
        super().add_arguments_to_parser(parser)
        parser.add_method_arguments(Trainer, "fit", skip=set(self.subcommands()["fit"]))
        parser.add_argument("--run", type=str | None, help="a run whose weights are to be measured, as of `test`.")

    def before_instantiate_classes(self) -> None:
        """Chooses the directory as `fit` does."""
        self._settle(self.config)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """None yet: its constructor raises for what is to be found."""

    def findings(self) -> Iterator[Finding]:
        """What is found of the configuration."""
        assert self.run_directory is not None
        config, directory = self.config, self.run_directory
        parts = (type(part).__name__ for part in (self.model.net, self.datamodule))
        yield Finding("ok", "configuration", f"it parses, and {' and '.join(parts)} can be built")
        again = bool(config.resume or config.run)
        if again:
            for line in run_directory.diff(file_format.read_config(directory / run_directory.CONFIG), self.experiment):
                yield Finding("note", "configuration", f"differs from the saved one: {line}")
        if not config.run:
            try:
                check_duration(config.trainer)
            except UserError as error:
                yield Finding("FAIL", "configuration", str(error))
        given = self.config_init["trainer"]["callbacks"]
        averaged = any(isinstance(own, EMA) for own in (given if isinstance(given, list) else [given]))
        if config.run or (config.model.init_from and not config.resume and not config.ckpt_path):
            yield doctor.weights(self.model, self._checkpoint)
        elif config.resume or config.ckpt_path:
            yield doctor.resumable(self.model, self._checkpoint, averaged, config.trainer.max_epochs)
        build = super().instantiate_trainer
        yield from doctor.training(self.model, self.datamodule, config.trainer, directory, build, again, averaged)

    def _checkpoint(self) -> doctor.Found:
        """What a fit or a test would begin from, and what is wrong with what it would rather begin from."""
        config, directory = self.config, self.run_directory
        assert directory is not None
        if config.resume:
            return latest_checkpoint(directory, rename_damaged=False)
        if config.run:
            path = run_directory.find_checkpoint(
                directory, f"{config.trainer.test_checkpoint}.ckpt", run_directory.LAST, run_directory.PREVIOUS
            )
        else:
            path = Path(config.ckpt_path) if config.ckpt_path else run_directory.find_weights(config.model.init_from)
        return path, read(path), []


def examine(arguments: list[str]) -> int:
    """`doctor`: looks at the machine, and at the configuration if there is one. Gives the exit code."""
    if any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "SLURM_LOCALID")):
        return 0  # the first process of each node speaks for the others
    if len(arguments) == 1:
        return report([*doctor.machine(), *doctor.without_configuration()])
    try:
        findings = Examination(arguments).findings()
    except UserError as error:
        if not _is_of_files(arguments, str(error)):
            raise
        findings = iter([Finding("FAIL", "configuration", str(error))])
    return report(itertools.chain(doctor.machine(), findings))


def _is_of_files(arguments: list[str], message: str) -> bool:
    """Whether the files and the run that are named cause an error also without the rest of the command line."""
    named = named_in(arguments)
    if named.run:
        run_directory.find(named.run)
    if not all(Path(path).is_file() for path in named.config):
        return False
    files = [f"--config={path}" for path in named.config] + ([f"--run={named.run}"] if named.run else [])
    try:
        Examination(["doctor", *files])
    except UserError as error:
        return str(error) == message
    return False
