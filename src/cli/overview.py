"""The help, the versions and the misspelled subcommands of `python -m src`, answered without importing torch, which
takes seconds."""

from __future__ import annotations

import pkgutil
import platform
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from src.errors import UserError, did_you_mean

# tests/cli/test_overview.py compares these with the parser's own.
SUBCOMMANDS = {
    "fit": "Trains a network, saves its best and last weights, and tests them at the end.",
    "validate": "Evaluates a run on its validation samples.",
    "test": "Evaluates a run on the official test set.",
    "predict": "Predicts the classes of image files, or of the official test set of a run.",
    "export": "Writes the network of a run as one file for other programs.",
    "demo": "Opens a local page that classifies images.",
    "doctor": "Checks a machine and a configuration.",
    "study": "Runs recipes for several seeds or folds, and compares them.",
    "sweep": "Searches for the best values of configuration keys, with Optuna.",
    "runs": "Lists the runs with their state, their metrics and what differs between them.",
    "results": "Makes a page with the results of recipes, from their runs.",
    "completion": "Prints the JSON schema of recipes for editors, or the completion script of a shell.",
}

# Those that do not import torch.
_LIGHT = {"runs": "src.cli.runs:list_runs", "study": "src.cli.study:run_study", "sweep": "src.cli.sweep:run_sweep"}

TEXT = """usage: python -m src SUBCOMMAND --config FILE [--KEY VALUE ...]

Trains and evaluates image classifiers.

subcommands:
{subcommands}

python -m src fit --config configs/quickstart.yaml   trains on a synthetic dataset in half a minute
python -m src SUBCOMMAND --help                      its arguments, which are also the keys of a FILE
python -m src --version                              versions of this project and its main packages
"""


def answer(arguments: list[str]) -> int | None:
    """Prints the answer; returns the exit code, or None if the arguments are left to the parser."""
    try:
        return _answer(arguments)
    except UserError as error:
        print(f"error: {error}" + ("" if str(error).endswith("?") else "."), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _answer(arguments: list[str]) -> int | None:
    first = arguments[0] if arguments else None
    if first is None or first in ("-h", "--help"):
        print(overview(), end="", file=sys.stdout if first else sys.stderr)
        return 0 if first else 2
    if first == "--version":
        print(versions())
        return 0
    if first in _LIGHT:
        return pkgutil.resolve_name(_LIGHT[first])(arguments[1:])
    if first in ("predict", "export", "demo") and {"-h", "--help"} & set(arguments):
        from src.cli import inference_arguments

        inference_arguments.PARSERS[first]().print_help()
        return 0
    if first in SUBCOMMANDS or first.startswith("-"):
        return None
    is_recipe = first.endswith((".yaml", ".yml"))
    advice = f"did you mean fit --config {first}?" if is_recipe else did_you_mean(first, SUBCOMMANDS)
    raise UserError(f"{first} is not a subcommand; {advice}")


def overview() -> str:
    return TEXT.format(subcommands="\n".join(f"  {name:<12}{does}" for name, does in SUBCOMMANDS.items()))


def versions() -> str:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    packages = [f"{name} {metadata.version(name)}" for name in ("lightning", "torch", "torchvision")]
    return ", ".join([f"{project['name']} {project['version']}", *packages, f"Python {platform.python_version()}"])
