"""`python -m src runs`: lists the runs; does not import torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from src.cli.overview import SUBCOMMANDS
from src.errors import UserError
from src.runtime import run_directory
from src.studies import run_table
from src.studies.run_record import read
from src.studies.run_selection import sort, where

_EPILOG = """A run is running, stopped (by a signal; `fit --resume RUN` continues it), finished, or it died.
val/acc is that of the best weights."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m src runs", description=SUBCOMMANDS["runs"], epilog=_EPILOG)
    parser.add_argument("--logs", type=Path, default=run_directory.LOGS, help="the folder of the runs (default: logs)")
    parser.add_argument("--sort", metavar="KEY", help="a metric, the best first; a column; or a key of the recipes")
    parser.add_argument(
        "--where", metavar="KEY=VALUE", action="append", default=[], help="only these runs; may be repeated"
    )
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    return parser


def list_runs(arguments: list[str]) -> int:
    """Prints the runs; returns the exit code."""
    given = build_parser().parse_args(arguments)
    _print(given.logs, given.sort, given.where, given.format)
    return 0


def _print(logs: Path, sort_key: str | None, conditions: list[str], form: str) -> None:
    if not logs.is_dir():
        raise UserError(f"{logs} is not a folder; --logs is the folder of the runs, which `fit` creates")
    everything = [read(directory) for directory in run_directory.all_in(logs)]
    records = where(everything, conditions)
    records = sort(records, sort_key or "started")
    if form == "json":
        print(run_table.as_json(records), end="")
    elif form == "csv":
        print(run_table.as_csv(records), end="")
    elif records:
        run_table.print_table(records, sort_key)
    else:
        print(f"no runs in {logs}" + (f" with {' and '.join(conditions)}" if conditions else ""))
    for record in everything:
        for line in record.damaged:
            print(line, file=sys.stderr)
