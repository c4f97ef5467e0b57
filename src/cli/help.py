"""The help of a subcommand: this project's arguments, the common ones of Lightning, and where to find the others."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterable
from typing import Any

import lightning
from jsonargparse import DefaultHelpFormatter

from src.cli.explanation import PACKAGES
from src.runtime.trainer import Trainer

# The arguments of Lightning's Trainer that are shown.
COMMON = {"accelerator", "devices", "num_nodes", "strategy", "max_epochs", "max_steps", "limit_train_batches"}

_RARE = set(inspect.signature(lightning.Trainer).parameters) - set(inspect.signature(Trainer).parameters) - COMMON
_PREFIXES = tuple(f"{package.__name__}." for package in PACKAGES)
_KNOWN = re.compile(r", known subclasses: ([^)]*)(?=\)$)")
_CHOICES = re.compile(r"type: Literal\[[^]]*\], ")  # the argument's name is followed by the same choices

EPILOG = """The arguments of a class: --data.help src.data.CIFAR10, --model.net.help src.models.DeepCNN,
--model.optimizer.help torch.optim.AdamW. The keys of a FILE are the same arguments."""


class ShortHelp(DefaultHelpFormatter):
    """Omits Lightning's rarer arguments, the classes of other packages, and `--*.help`: 170 lines instead of 1,150.

    argparse documents no method of a formatter; tests/cli/test_help.py fails if these are no longer called.
    """

    def __init__(self, prog: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(prog.replace(" [options]", ""), *args, **kwargs)

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        """One line instead of all options."""
        if actions and all(action.option_strings for action in actions):
            usage = usage or "%(prog)s --config FILE [--KEY VALUE ...]"
        super().add_usage(usage, actions, *args, **kwargs)

    def add_argument(self, action: argparse.Action) -> None:
        group, _, name = action.dest.partition(".")
        rare = group == "trainer" and (name in _RARE or name.startswith("default_callbacks"))
        if not rare and not name.endswith("help"):
            super().add_argument(action)

    def _expand_help(self, action: argparse.Action) -> str:
        return _CHOICES.sub("", _KNOWN.sub(_of_this_project, super()._expand_help(action)))


def _of_this_project(match: re.Match[str]) -> str:
    names = [name for name in match[1].split(", ") if name.startswith(_PREFIXES) and name.count(".") == 2]
    return f", for example {', '.join(names)}" if names else ""


class TrainerHelp(argparse.Action):
    """`--trainer.help` shows the arguments of the trainer that `ShortHelp` omits, as `--data.help` does."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        text = "Show all arguments of the trainer, such as gradient_clip_val and profiler, and exit."
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=text)

    def __call__(self, parser: Any, *args: Any, **kwargs: Any) -> None:
        usage = f"{parser.prog.replace(' [options]', '')} [--trainer.KEY VALUE ...]"
        inner = type(parser)(usage=usage, add_help=False)
        inner.add_class_arguments(Trainer, "trainer", fail_untyped=False)
        inner.print_help()
        parser.exit()
