"""The command line: `python -m src fit|validate|test|predict --config FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning import LightningModule
import lightning

from src import run
from src.classifier import Classifier
from src.data import ImageData
from src.trainer import Trainer, native_precision


class SaveConfig(SaveConfigCallback):
    """Saves what describes the experiment, and nothing of how it was started."""

    def setup(self, trainer, pl_module, stage):
        if trainer.is_global_zero and stage == "fit":
            self.save_config(trainer, pl_module, stage)

    def save_config(self, trainer: lightning.Trainer, pl_module: LightningModule, stage: str) -> None:
        directory = Path(trainer.default_root_dir)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / run.CONFIG).write_text(yaml.safe_dump(pl_module.config, sort_keys=False))


class CLI(LightningCLI):
    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            Classifier,
            ImageData,
            trainer_class=Trainer,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--seed_everything", type=int, default=0, help="seed of everything that is drawn by chance")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.argv = sys.argv[1:] if args is None else list(args)
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        early.add_argument("subcommand", nargs="?")
        early.add_argument("--resume")
        early.add_argument("--run")
        early.add_argument("--config", "-c", action="append")
        self.early, _ = early.parse_known_args(self.argv)
        reference = self.early.resume or self.early.run
        if reference:
            saved = run.find(reference) / run.CONFIG
            position = self.argv.index(self.early.subcommand) + 1
            self.argv[position:position] = ["--config", str(saved)]
        self.config = parser.parse_args(self.argv)

    def _parse_ckpt_path(self) -> None:
        pass

    def before_instantiate_classes(self) -> None:
        config = self.config[self.config.subcommand]
        if config.trainer.precision == "auto":
            config.trainer.precision = native_precision(config.trainer.accelerator)
        if config.model.init_from:
            config.model.init_from = str(run.weights(config.model.init_from))
        dump = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_none=False))
        self.saved_config = {k: dump[k] for k in ("seed_everything", "trainer", "model", "data")}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self.config[self.config.subcommand]
        self.model.config = self.saved_config
        reference = self.early.resume or self.early.run
        if reference:
            directory = run.find(reference)
        elif config.trainer.default_root_dir:
            directory = Path(config.trainer.default_root_dir)
        else:
            recipe = Path(self.early.config[0]).stem if self.early.config else "default"
            directory = run.new(recipe)
        run.hand_on(directory)
        return super().instantiate_trainer(default_root_dir=str(directory), **kwargs)


def main(args: list[str] | None = None) -> None:
    CLI(args)
