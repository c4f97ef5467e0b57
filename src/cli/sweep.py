"""`python -m src sweep`: searches for the best values of configuration keys; does not import torch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from src.cli.number import at_least
from src.cli.overview import SUBCOMMANDS
from src.errors import UserError, optional_package
from src.runtime import run_directory

_EPILOG = """Other arguments are those of `fit`, for all trials. The same command continues a sweep that was
interrupted, also with more trials. Exit code 1: a trial failed or was killed; the others were run nevertheless."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m src sweep", description=SUBCOMMANDS["sweep"], epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--config", type=Path, action="append", required=True, metavar="FILE", help="a recipe; then overlays of it"
    )
    parser.add_argument(
        "--space", type=Path, required=True, metavar="FILE",
        help="keys, each with a list of choices, or {low: ..., high: ...} and also log: true or step: ...",
    )  # fmt: skip
    parser.add_argument("--trials", type=at_least(1, "--trials"), required=True, help="how many in all")
    parser.add_argument("--name", help="the sweep is logs/NAME (default: sweep_ and the name of the recipe)")
    for kind, default in (("sampler", "TPESampler"), ("pruner", "MedianPruner")):
        parser.add_argument(
            f"--{kind}", nargs="+", default=[default], metavar=("NAME", "KEY=VALUE"),
            help=f"a class of optuna.{kind}s, and its arguments (default: {default})",
        )  # fmt: skip
    parser.add_argument("--storage", metavar="URL", help="a database of Optuna's (default: SQLite in logs/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default: 0)")
    parser.add_argument(
        "--processes", type=at_least(1, "--processes"), default=1, help="how many trials at a time (default: 1)"
    )
    return parser


def run_sweep(arguments: list[str]) -> int:
    """Runs what is missing; returns the exit code."""
    given, others = build_parser().parse_known_args(arguments)
    if os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1":
        raise UserError(
            "a worker of a sweep is one task: use --ntasks 1, whose GPUs a trial shares, and --array for more"
        )
    optional_package("optuna", "a sweep")
    from src.studies import sweep_report
    from src.studies.sweep import Sweep

    recipe, *overlays = given.config
    others = [*(f"--config={overlay}" for overlay in overlays), *others]
    directory = run_directory.named(given.name or f"sweep_{recipe.stem}")
    sweep = Sweep(directory, recipe, given.space, others, given.sampler, given.pruner, given.storage, given.seed)
    sweep.prepare()
    sweep.run(given.trials, given.processes)
    print(sweep_report.write(sweep.directory, sweep.study))
    print(f"table in {directory / 'sweep.md'}, the best trial as a recipe in {directory / sweep_report.BEST}")
    return 1 if sweep.failed or sweep.interrupted else 0
