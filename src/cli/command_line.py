"""The command line: `python -m src fit|validate|test|predict|doctor`. It wires, and computes nothing."""

from __future__ import annotations

import argparse
import contextlib
import errno
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning
import yaml
from jsonargparse import Namespace
from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from src.classifier import Classifier
from src.cli.help import EPILOG, ShortHelp, TrainerHelp
from src.cli.parser import Parser, check_yaml, explain
from src.data import ImageDataModule
from src.data.storage.disk import OF_THE_DISK
from src.errors import UserError
from src.runtime import run_directory
from src.runtime.trainer import Trainer, native_precision

# The parts of a configuration that describe an experiment; the rest is how it was started.
EXPERIMENT = ("seed_everything", "trainer", "model", "data")

ABOUT = (
    "Trains and measures image classifiers. `doctor`, which takes what `fit` takes, checks machine and configuration "
    "without training."
)

# What a disk or a folder can refuse.
_OF_THE_USER = OF_THE_DISK | {errno.ENOENT, errno.EISDIR}


class SaveConfig(SaveConfigCallback):
    """Writes config.yaml, which every subcommand can read, into the run directory of a fit."""

    def setup(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes it; Lightning's own would refuse to go on where it already lies."""
        if stage == "fit" and trainer.is_global_zero:
            self.save_config(trainer, pl_module, stage)

    def save_config(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes what the model carries into its checkpoints too."""
        # As a whole: without it the run could not be resumed.
        run_directory.write_text(
            Path(trainer.default_root_dir) / run_directory.CONFIG, yaml.safe_dump(pl_module.config, sort_keys=False)
        )


class CLI(LightningCLI):
    """Lightning's command line with run directories."""

    def __init__(
        self, args: list[str] | None = None, run: bool = True, prog: str = "python -m src", about: str = ABOUT
    ) -> None:
        self._arguments = sys.argv[1:] if args is None else args
        super().__init__(
            Classifier,
            ImageDataModule,
            save_config_callback=SaveConfig,
            trainer_class=Trainer,
            parser_class=Parser,
            parser_kwargs={"prog": prog, "description": about, "formatter_class": ShortHelp},
            subclass_mode_data=True,
            args=args,
            run=run,
            auto_configure_optimizers=False,
            # RunCheckpoints hold the configuration in `config` instead, where it overrides nothing.
            load_from_checkpoint_support=False,
        )

    # What is parsed

    def subcommands(self) -> dict[str, set[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Lightning's, without the arguments that this project decides; if one is asked for, that one alone, as
        Lightning walks through all signatures for each, 0.15 s."""
        hidden = {"weights_only", "verbose", "return_predictions"}
        every = {name: skipped | hidden for name, skipped in LightningCLI.subcommands().items()}
        return {name: every[name] for name in self._arguments[:1] if name in every} or every

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed is a number, always: a run that can't be repeated is of no use."""
        parser.add_argument(
            "--seed_everything",
            type=int,
            default=0,
            help="The seed of first weights, order, augmentation, dropout.",
        )
        parser.add_argument("--trainer.help", action=TrainerHelp)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """What the parts of an experiment take from each other."""
        parser.epilog = EPILOG
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Reads the command line; of a run that it names, the configuration comes first, so that what the
        command line says besides wins."""
        arguments = list(self._arguments)
        named = named_in(arguments)
        if any(argument.endswith((".yaml", ".yml")) and argument[0] != "-" for argument in arguments[1:2]):
            raise UserError(f"{arguments[1]} stands alone; did you forget --config before it?")
        self.run_directory = (run_directory.inherited() or run_directory.find(named.run)) if named.run else None
        if self.run_directory:
            check_yaml(self.run_directory / run_directory.CONFIG)
        for path in map(Path, named.config):
            if path.is_file():
                check_yaml(path)
        self.recipe = Path(named.config[0]).stem if named.config else "run"
        if self.run_directory:
            first = arguments.index(named.subcommand) + 1
            arguments[first:first] = ["--config", str(self.run_directory / run_directory.CONFIG)]
        if arguments[:1] == ["fit"] and not any(argument.startswith("-") for argument in arguments[1:]):
            raise UserError("fit needs a recipe, for example: python -m src fit --config configs/quickstart.yaml")
        self.config = parser.parse_args(arguments[1:] if arguments[:1] == ["doctor"] else arguments)
        seed = self.config.get(str(self.config.get("subcommand")), self.config).seed_everything
        if not 0 <= seed < 2**32:
            raise UserError(f"seed_everything {seed} is outside [0, 2**32)")

    def _parse_ckpt_path(self) -> None:
        """Not Lightning's way, which is to let what a checkpoint stores overwrite the command line. There is
        no public switch for it; tests/test_cli.py breaks if this is no longer called."""

    # What is run

    def fit(self, **kwargs: Any) -> None:
        """Trains; leaves no directory behind where it could not begin."""
        directory = Path(self.trainer.default_root_dir)
        found = directory.exists()
        try:
            self.trainer.fit(**kwargs)
        except Exception as error:
            if not found and self.trainer.global_step == 0 and self.trainer.is_global_zero:
                shutil.rmtree(directory, ignore_errors=True)
                for parent in list(directory.parents)[:2]:  # of the recipe and of all runs, if now empty
                    with contextlib.suppress(OSError):
                        parent.rmdir()
            if self.trainer.global_step == 0 and isinstance(
                error, (ValueError, TypeError, RuntimeError, ArithmeticError)
            ):
                # Before the first step it is the configuration that is at fault, of an optimizer for one.
                text = " ".join(str(error).split())
                raise UserError(f"training could not begin: {text} ({type(error).__name__})") from error
            raise

    # What is built

    def before_instantiate_classes(self) -> None:
        """Resolves what depends on this machine, so that what is saved is what was run."""
        config = self.config[str(self.subcommand)]
        if config.trainer.precision == "auto":
            config.trainer.precision = native_precision(config.trainer.accelerator)
        if self.subcommand == "fit" and (complaint := about_the_end(config.trainer)):
            raise UserError(complaint)
        # Where weights come from a checkpoint, the run that they began with need not exist any more.
        if config.model.init_from and self.subcommand == "fit" and not config.resume and not config.ckpt_path:
            config.model.init_from = str(run_directory.find_weights(config.model.init_from))
        if self.subcommand != "fit" and not config.run and not config.ckpt_path:
            raise UserError(
                f"{self.subcommand} needs weights: --run RUN (a directory in {run_directory.LOGS}, or a recipe for "
                "its latest run), or --config FILE with --ckpt_path FILE"
            )
        if self.subcommand in ("validate", "predict") and config.trainer.logger is None:
            config.trainer.logger = False  # there is no curve to draw
        self._settle(config)
        for key in ("resume", "run"):
            if config.get(key):  # not looked for again: `recipe` may soon mean a later run
                config[key] = str(self.run_directory)
        if self.subcommand == "fit":
            self._check_directory(config.resume)

    def _settle(self, config: Namespace) -> None:
        """Chooses the directory, and notes the experiment without it."""
        directory = self.run_directory or config.trainer.default_root_dir
        self.run_directory = Path(directory) if directory else run_directory.new(self.recipe)
        config.trainer.default_root_dir = None
        dumped = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_unset=False))
        self.experiment = {key: dumped[key] for key in EXPERIMENT}

    def _check_directory(self, resume: str | None) -> None:
        """A run is not written over, and a resumed one says what has changed."""
        assert self.run_directory is not None
        path = self.run_directory / run_directory.CONFIG
        if not run_directory.is_rank_zero():
            return
        if resume:
            for line in run_directory.diff(yaml.safe_load(path.read_text()), self.experiment):
                print(f"differs from the saved configuration: {line}")
        elif path.exists():
            raise UserError(
                f"{self.run_directory} already holds a run: go on with it by `fit --resume {self.run_directory}`, or "
                "choose another trainer.default_root_dir"
            )

    def instantiate_classes(self) -> None:
        """Builds data, model and trainer; what their constructors object to is the user's to mend."""
        try:
            super().instantiate_classes()
        except (ValueError, TypeError) as error:
            raise UserError(explain(str(error))) from error
        self.model.config = self.experiment

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer for the run's directory."""
        assert self.run_directory is not None
        run_directory.export_to_children(self.run_directory)
        return super().instantiate_trainer(default_root_dir=str(self.run_directory), **kwargs)  # pyright: ignore


def named_in(arguments: list[str]) -> argparse.Namespace:
    """What of a command line has to be known before the rest can be understood."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("subcommand", nargs="?")
    early.add_argument("--resume", "--run", dest="run")
    early.add_argument("-c", "--config", action="append", default=[])
    try:
        return early.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error


def about_the_end(trainer: Namespace) -> str | None:
    """What is wrong with when training is to end, if anything is."""
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer[name] == 0:
            return f"trainer.{name} {trainer[name]} leaves nothing to train; raise it"
    # Lightning would choose 1,000 epochs.
    if trainer.max_epochs is None and trainer.max_steps == -1 and not trainer.max_time:
        return "trainer.max_epochs is missing; set it, or trainer.max_steps, or trainer.max_time"
    return None
