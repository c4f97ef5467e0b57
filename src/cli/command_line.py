"""`python -m src fit|validate|test|predict`: builds the data module, the model and the trainer, and runs them."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from jsonargparse import Namespace
from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities import rank_zero_info

from src.callbacks.hyperparameter_logger import flatten
from src.classifier import SPEC, Classifier
from src.cli import config_file
from src.cli.argument_checks import check_duration, check_effect, run_named_in
from src.cli.faults import is_fault
from src.cli.help import EPILOG, ShortHelp, TrainerHelp
from src.cli.parser import Parser, has_argument
from src.data import ImageDataModule
from src.data.image_spec import ImageSpec
from src.data.storage.disk import one_at_a_time
from src.errors import RankLost, UserError, first_line
from src.models.pretrained import pretrained_normalization, takes_weights, weight_arguments, without_weights
from src.runtime import file_format, job_directory, lightning_workarounds, ranks, rendezvous, run_directory
from src.runtime.checkpoint_file import read
from src.runtime.code_state import code_state, imported_files
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.job import Job
from src.runtime.job_directory import JobDirectory
from src.runtime.lightning_workarounds import ExplicitConfiguration
from src.runtime.manifest import PROJECT, add_module_folders
from src.runtime.precision import native_precision
from src.runtime.trainer import Trainer

# The keys of config.yaml; the others (resume, run, ckpt_path, ...) belong to one invocation.
EXPERIMENT = ("seed_everything", "trainer", "model", "data")

ABOUT = (
    "Trains and evaluates image classifiers. `doctor` takes the arguments of `fit` and checks them without training."
)


class SaveConfig(SaveConfigCallback):
    """Writes config.yaml into the run directory of `fit`."""

    def setup(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's own writes the file here, and raises where it exists."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: LightningModule) -> None:
        """Writes the same configuration as the checkpoints hold, unless a resumed run has nothing left to train."""
        if trainer.is_global_zero:
            run_directory.write_text(
                Path(trainer.default_root_dir) / run_directory.CONFIG, yaml.safe_dump(pl_module.config, sort_keys=False)
            )


class CLI(ExplicitConfiguration, LightningCLI):
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
            # The checkpoints hold the configuration in `config` instead, where it overrides nothing.
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Skips arguments that have no effect here, and all subcommands but the given one: each costs 0.15 s."""
        hidden = {"weights_only", "verbose", "return_predictions"}
        every = {name: skipped | hidden for name, skipped in LightningCLI.subcommands().items()}
        return {name: every[name] for name in self._arguments[:1] if name in every} or every

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Lightning's own accepts `true` for a random seed, with which a run could not be repeated."""
        parser.add_argument(
            "--seed_everything",
            type=int,
            default=0,
            help="Seed of the initial weights, the order of the samples, augmentation and dropout.",
        )
        parser.add_argument(
            f"--{file_format.ENTRY}", type=int, default=file_format.FORMAT_VERSION, help=argparse.SUPPRESS
        )
        parser.add_argument("--trainer.help", action=TrainerHelp)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links the arguments that two classes share."""
        parser.epilog = EPILOG
        for name, default in DefaultCallbacks.as_config().items():
            parser.set_defaults({f"trainer.default_callbacks.{name}": default})
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data", "model.num_classes", self._num_classes, apply_on="instantiate")
        parser.link_arguments("data.multi_label", "model.multi_label", apply_on="instantiate")

    def _num_classes(self, data: ImageDataModule) -> int:
        """Of the data, or of the model that is resumed or evaluated, which may have more."""
        config, spec = self.config.get(str(self.subcommand), self.config), None
        with contextlib.suppress(UserError):  # raised again where the weights are loaded
            path = config.ckpt_path or (self.source and run_directory.find_best_or_last(self.source, "best"))
            spec = read(path).get(SPEC) if path else None
        if spec:
            data.use_spec(ImageSpec(**spec))
        return data.num_classes

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Inserts the configuration of a given run before the other arguments, which override it."""
        arguments = list(self._arguments)
        if any(argument.endswith((".yaml", ".yml")) and argument[0] != "-" for argument in arguments[1:2]):
            raise UserError(f"{arguments[1]} is not an option; did you mean --config {arguments[1]}?")
        self.source = run_named_in(arguments)
        if self.source:
            add_module_folders(self.source)
            if not (self.source / run_directory.CONFIG).is_file():
                raise UserError(
                    f"{self.source} has no {run_directory.CONFIG}, as it was made from Python; resume it there, by "
                    f"Trainer.fit(model, datamodule, resume={str(self.source)!r})"
                )
            arguments[1:1] = ["--config", str(self.source / run_directory.CONFIG)]
        arguments, files = config_file.resolve(arguments)
        self.given = config_file.names_given(arguments)
        self.recipe = Path(files[0]).stem if files else "run"
        if arguments[:1] == ["fit"] and not any(argument.startswith("-") for argument in arguments[1:]):
            raise UserError("fit needs a recipe, for example: python -m src fit --config configs/quickstart.yaml")
        try:
            self.config = parser.parse_args(arguments[1:] if arguments[:1] == ["doctor"] else arguments)
        finally:  # also where the configuration is only printed
            for line in lightning_workarounds.dropped:
                rank_zero_info(line)
            lightning_workarounds.dropped.clear()
        self.config = config_file.expand_home(self.config)
        seed = self.config.get(str(self.config.get("subcommand")), self.config).seed_everything
        if not 0 <= seed < 2**32:
            raise UserError(f"seed_everything {seed} is outside [0, 2**32)")
        self.chosen: JobDirectory | None = None
        if self.config.get("subcommand") == "fit" and not self.config.fit.resume:
            self._choose_directory(parser, self.config.fit)

    def _choose_directory(self, parser: LightningArgumentParser, config: Namespace) -> None:
        """Chooses the run directory; continues the run that this job has begun there before it was interrupted, with
        its configuration, since the recipe may have changed while the job waited."""
        self.chosen = job_directory.choose(self.recipe, config.trainer.default_root_dir)
        if self.chosen.resumable:
            self.source = self.chosen.path
            saved, _ = config_file.resolve(["fit", "--config", str(self.source / run_directory.CONFIG)])
            experiment = parser.parse_args(saved).fit
            for key in EXPERIMENT:
                config[key] = experiment[key]
            config.resume, config.ckpt_path = str(self.source), None
        if self.chosen.interrupted:
            then = "resumes" if self.chosen.resumable else "starts again, as there is no checkpoint yet, in"
            rank_zero_info(f"{self.chosen.job}: {then} {self.chosen.path}")

    def fit(self, **kwargs: Any) -> None:
        """Trains; where training fails before the first step, removes the run directory."""
        try:
            self.trainer.fit(**kwargs)
        except Exception as error:
            if self.trainer.global_step > 0:
                raise
            if self.trainer.is_global_zero:
                run_directory.discard(Path(self.trainer.default_root_dir))
            if ranks.is_lost_connection(error):
                raise RankLost("another rank ended before the first step; see its output") from error
            refused = isinstance(error, (ValueError, TypeError, RuntimeError, ArithmeticError))
            if not refused or isinstance(error, torch.OutOfMemoryError) or is_fault(error, True):
                raise
            text = " ".join(str(error).split())
            raise UserError(f"training could not start: {text} ({type(error).__name__})") from error

    def before_instantiate_classes(self) -> None:
        """Resolves what depends on the machine, so that config.yaml holds what runs."""
        config = self.config[str(self.subcommand)]
        if config.trainer.precision == "auto":
            config.trainer.precision = native_precision(config.trainer.accelerator)
        if self.subcommand == "fit":
            check_duration(config.trainer)
        # An interrupted job is started again with the arguments of its new run.
        again = self.chosen and self.chosen.resumable
        check_effect(config, self.source, self.subcommand == "fit", [] if again else self._arguments)
        # A resumed run does not need the run that its initial weights came from.
        if config.model.init_from and self.subcommand == "fit" and not config.resume and not config.ckpt_path:
            config.model.init_from = str(run_directory.find_weights(config.model.init_from))
        if self.subcommand != "fit" and not config.run and not config.ckpt_path:
            raise UserError(
                f"{self.subcommand} needs weights: --run RUN (a directory in {run_directory.LOGS}, or a recipe for "
                "its latest run), or --config FILE with --ckpt_path FILE"
            )
        if self.subcommand in ("validate", "predict") and config.trainer.logger is None:
            config.trainer.logger = False
        self._settle(config)
        if met := rendezvous.current():
            met.check_equal({"configuration": self.experiment, "code": code_state(PROJECT, imported_files())[0]})
        for key in ("resume", "run"):
            if config.get(key):  # `recipe` means its latest run, which may change
                config[key] = str(self.source)
        if self.subcommand == "fit":
            self._check_directory(config.resume)

    def _settle(self, config: Namespace) -> None:
        """Chooses the directory that is written, if it is not a new one, and keeps the configuration without it."""
        given = config.trainer.default_root_dir
        self.directory = Path(given) if given else self.source
        config.trainer.default_root_dir = None
        dumped = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_unset=False))
        self.experiment = {file_format.ENTRY: file_format.FORMAT_VERSION, **{key: dumped[key] for key in EXPERIMENT}}

    def _check_directory(self, resume: str | None) -> None:
        """Prints what differs from the configuration of a resumed run; raises UserError for a run that exists."""
        if Job.of().rank > 0:
            return
        if resume:
            assert self.source is not None
            saved = file_format.read_config(self.source / run_directory.CONFIG)
            for line in run_directory.diff(saved, self.experiment):
                print(f"differs from the saved configuration: {line}")
        elif self.directory and not (self.chosen and self.chosen.interrupted):
            run_directory.check_is_new(self.directory)

    def instantiate_classes(self) -> None:
        """Builds data module, model and trainer; what a constructor raises about its arguments becomes a UserError."""
        config = self.config.get(str(self.subcommand), self.config)
        head_is_replaced = takes_weights(net := config.model.net)
        if self.source or config.ckpt_path:  # whose weights are loaded afterwards
            without_weights(net)
        downloads = weight_arguments(net)
        try:
            if not head_is_replaced:
                self._fit_net_to_data()
            with one_at_a_time(Path(torch.hub.get_dir())) if downloads else contextlib.nullcontext():
                super().instantiate_classes()
        except (ValueError, TypeError, RuntimeError, AssertionError, ImportError, OSError) as error:
            if isinstance(error, OSError):
                if not downloads:
                    raise
                raise UserError(
                    f"the pretrained weights of {config.model.net.class_path} are not here and cannot be downloaded: "
                    f"{first_line(error).rstrip('.')}. Give a file of weights as model.init_from, with "
                    f"{' and '.join(f'model.net.{name} {json.dumps(value)}' for name, value in downloads.items())}"
                ) from error
            if isinstance(error.__cause__, UserError):  # of `_num_classes`
                raise UserError(str(error.__cause__)) from None
            if is_fault(error):
                raise
            self.parser.error(str(error), error)
        config = self.config.get(str(self.subcommand), self.config)
        if config.model.init_from or downloads:
            self.model.normalization = pretrained_normalization(self.model.net, config.model.net.class_path)
        self.model.config = self.experiment
        if not self.source:  # the configuration of a run has all arguments
            self.model.settings = {
                name: value for name, value in flatten(self.experiment).items() if name in self.given
            }

    def _fit_net_to_data(self) -> None:
        """Sets the network's `num_classes`, if it has this argument and the command line does not give it, to that of
        the data."""
        config = self.config.get(str(self.subcommand), self.config)
        net, parser = config.model.net, self._parser(self.subcommand)
        given = any(re.match(r"--model\.net\.(init_args\.)?num_classes\b", argument) for argument in self._arguments)
        if given or not has_argument(net.class_path, "num_classes"):
            return
        config.data = parser.instantiate(Namespace(data=config.data), False).data
        num_classes = self._num_classes(config.data)
        init_args = net.init_args = net.get("init_args") or Namespace()
        if init_args.get("num_classes") != num_classes:
            init_args.num_classes = num_classes
            self.experiment["model"]["net"].setdefault("init_args", {})["num_classes"] = num_classes

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer with the run directory."""
        directory = self.directory or (self.chosen or job_directory.choose(self.recipe)).path
        return super().instantiate_trainer(default_root_dir=str(directory), **kwargs)  # pyright: ignore
