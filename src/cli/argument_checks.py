"""Checks of arguments that are valid one by one."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from jsonargparse import Namespace

from src.errors import UserError
from src.models.pretrained import takes_weights
from src.runtime import job_directory, run_directory

_NORMALIZATION = re.compile(r"--(data\.)(?:init_args\.)?(mean|std|normalize)\b")
_TRAINING = re.compile(
    r"--(data\.)(?:init_args\.)?(augment|mix|drop_last|balanced)\b"
    r"|--(model\.)(optimizer|lr_scheduler|lr_interval|layer_decay|label_smoothing|class_weights|compile)\b"
)
_PRETRAINED = re.compile(r"--(model\.net\.)(?:init_args\.|dict_kwargs\.)?(weights|pretrained|checkpoint_path)\b")


def run_named_in(arguments: list[str]) -> Path | None:
    """The run whose configuration is needed before the rest can be parsed."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    names = {"fit": ["--resume"], "doctor": ["--resume", "--run"]}.get(arguments[0] if arguments else "", ["--run"])
    early.add_argument(*names, dest="run", type=os.path.expanduser)
    try:
        reference = early.parse_known_args(arguments)[0].run
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    # `recipe` means its latest run, which may change before the processes of other ranks start.
    inherited = job_directory.inherited()
    if reference and inherited and (inherited.path / run_directory.CONFIG).is_file():
        return inherited.path
    return run_directory.find(reference) if reference else None


def check_effect(config: Namespace, source: Path | None, new: bool, arguments: list[str]) -> None:
    """Raises UserError for an argument that would have no effect; `source` is the run that is resumed or evaluated, and
    `new` says whether the subcommand is `fit`."""
    initial = any(argument.startswith("--model.init_from") for argument in arguments)
    resume, root = new and config.resume, config.trainer.default_root_dir
    if resume and root and Path(root).resolve() != Path(str(source)).resolve():
        raise UserError(
            f"--resume continues in {source}, so trainer.default_root_dir {root} has no effect; leave it out, or start "
            f"a new run with model.init_from {source}@last"
        )
    if resume and config.ckpt_path:
        raise UserError(f"--resume takes the last checkpoint of {source}, so --ckpt_path has no effect; leave one out")
    if initial and (not new or resume or config.ckpt_path):
        raise UserError("model.init_from is for a new run, and has no effect on given weights; leave it out")
    if (name := _named(_NORMALIZATION, arguments)) and (source or config.ckpt_path):
        raise UserError(
            f"{name} belongs to the model, whose normalization is saved with its weights, so it has no effect; leave "
            "it out"
        )
    if source and (name := _named(_PRETRAINED, arguments)) and takes_weights(config.model.net):
        raise UserError(f"{name} is for a new run, and has no effect on the weights of {source}; leave it out")
    if source and not new and (name := _named(_TRAINING, arguments)):
        raise UserError(f"{name} is of the training, and has no effect on the weights of {source}; leave it out")


def _named(pattern: re.Pattern[str], arguments: list[str]) -> str | None:
    """The first of the arguments that a pattern matches, without `init_args`."""
    found = next((match for one in arguments if (match := pattern.match(one))), None)
    return "".join(filter(None, found.groups())) if found else None


def check_duration(trainer: Namespace) -> None:
    """Raises UserError if training would have no steps or no end."""
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer[name] == 0:
            raise UserError(f"trainer.{name} is 0, so there is nothing to train; set at least 1")
    # Lightning's default is 1,000 epochs.
    if trainer.max_epochs is None and trainer.max_steps == -1 and not trainer.max_time:
        raise UserError("trainer.max_epochs is not set; set it, or trainer.max_steps, or trainer.max_time")
