"""`python -m src study`: runs a study and writes its report; does not import torch."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from src.cli.number import at_least
from src.cli.overview import SUBCOMMANDS
from src.errors import UserError
from src.runtime import run_directory
from src.studies import study_report
from src.studies.study import Study
from src.studies.study_summary import StudySummary

_EPILOG = """Other arguments are those of `fit`, for all runs. The same command continues a study that was interrupted,
also with more seeds. Exit code 1: a run failed; the others were run nevertheless."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m src study", description=SUBCOMMANDS["study"], epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument(
        "--config", type=Path, nargs="+", action="extend", required=True, metavar="FILE",
        help="a recipe; the others are compared with the first",
    )  # fmt: skip
    parser.add_argument("--seeds", type=parse_seeds, default=[0], help="0..9, or 0,3,5 (default: 0)")
    parser.add_argument("--folds", type=int, help="of a stratified cross-validation, which reads no test set")
    parser.add_argument("--name", help="the study is logs/NAME (default: study_ and the names of the recipes)")
    parser.add_argument(
        "--processes",
        type=at_least(0, "--processes"),
        default=1,
        help="how many runs at a time; 0 only writes the report (default: 1)",
    )
    parser.add_argument(
        "--member", type=int, metavar="N", help="only the Nth run, from 0, for example the task of an array of jobs"
    )
    return parser


def run_study(arguments: list[str]) -> int:
    """Runs what is missing; returns the exit code."""
    given, others = build_parser().parse_known_args(arguments)
    recipes = {path.stem: path for path in given.config}
    if len(recipes) < len(given.config):
        raise UserError("two recipes of --config have the same name, by which their runs are told apart; rename one")
    if given.folds is not None and given.folds < 2:
        raise UserError(f"--folds {given.folds} must be at least 2")
    directory = run_directory.named(given.name or f"study_{'_'.join(recipes)}")
    study = Study(directory, recipes, given.seeds, given.folds, others)
    if given.member is not None:
        if not 0 <= given.member < len(study.members):
            raise UserError(f"--member {given.member} is outside [0, {len(study.members)}), the runs of this study")
        study.selected = [study.members[given.member]]
    study.prepare()
    if study.selected and os.environ.get("SLURM_PROCID", "0") != "0":  # another rank of the run of rank 0
        return study.follow(study.selected[0])
    if given.processes > 0:
        study.run(given.processes)
    print(study_report.write(StudySummary(study)))
    print(f"report in {study.directory / 'study.md'}")
    return 1 if study.failed else 0


def parse_seeds(text: str) -> list[int]:
    """`0..9` is the seeds from 0 to 9, `0,3,5` these three. Raises ArgumentTypeError if it is neither."""
    if match := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        seeds = list(range(int(match[1]), int(match[2]) + 1))
    else:
        seeds = [int(one) for one in text.split(",") if one.strip().isdecimal()]
    if len(set(seeds)) < max(1, text.count(",") + 1):
        raise argparse.ArgumentTypeError(f"{text} are not different seeds; use 0..9 or 0,3,5")
    return seeds
