"""The help of a subcommand: what this project adds, and how to see the rest."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable
from typing import Any

import lightning
from jsonargparse import DefaultHelpFormatter

from src import data, models, optim

# Loaded, their classes are named where one may be given.
from src.data import augment
from src.runtime.trainer import Trainer

# Those of Lightning's arguments that runs are started with.
COMMON = {"accelerator", "devices", "num_nodes", "strategy", "max_epochs", "max_steps", "limit_train_batches"}

_RARE = set(inspect.signature(lightning.Trainer).parameters) - set(inspect.signature(Trainer).parameters) - COMMON
_PLACES = tuple(f"{module.__name__}." for module in (augment, data, models, optim))
_KNOWN = re.compile(r", known subclasses: ([^)]*)(?=\)$)")
_CHOICES = re.compile(r"type: Literal\[[^]]*\], ")  # also shown next to the argument's name

EPILOG = """What is given by class path has a help of its own: --data.help src.data.CIFAR10, --model.net.help
src.models.DeepCNN, --model.optimizer.help torch.optim.AdamW. A key in a FILE is an argument here."""


class ShortHelp(DefaultHelpFormatter):
    """Leaves out Lightning's rarer arguments, all classes but this project's, and that each class path has a help
    of its own: 1,150 lines become 170.

    argparse calls no method of a formatter public, but there is no other way; tests/test_help.py breaks if these are
    no longer called.
    """

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        """One line instead of every option, where all are options."""
        if actions and all(action.option_strings for action in actions):
            usage = usage or "%(prog)s --config FILE [--KEY VALUE ...]"
        super().add_usage(usage, actions, *args, **kwargs)

    def add_argument(self, action: argparse.Action) -> None:
        """Adds an argument, if it is to be shown."""
        if self.shows(action):
            super().add_argument(action)

    def shows(self, action: argparse.Action) -> bool:
        """Whether to show an argument."""
        part, _, name = action.dest.partition(".")
        hidden = part == "trainer" and (name in _RARE or name.startswith("default_callbacks"))
        return not name.endswith("help") and not hidden

    def _expand_help(self, action: argparse.Action) -> str:
        return _CHOICES.sub("", _KNOWN.sub(_of_this_project, super()._expand_help(action)))


def _of_this_project(match: re.Match[str]) -> str:
    names = [name for name in match[1].split(", ") if name.startswith(_PLACES) and name.count(".") == 2]
    return f", for example {', '.join(names)}" if names else ""


class TrainerHelp(argparse.Action):
    """`--trainer.help` shows what `ShortHelp` leaves out of the trainer, as jsonargparse's own `--data.help` does."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        text = "Show every argument of the trainer: gradient_clip_val, profiler and the rest of Lightning's."
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=text)

    def __call__(self, parser: Any, *args: Any, **kwargs: Any) -> None:
        """Prints it and exits."""
        inner = type(parser)(usage=f"{parser.prog} [--trainer.KEY VALUE ...]", add_help=False)
        inner.add_class_arguments(Trainer, "trainer", fail_untyped=False)
        inner.print_help()
        parser.exit()
