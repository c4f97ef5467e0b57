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
    if not given.logs.is_dir():
        raise UserError(f"{given.logs} is not a folder; --logs is the folder of the runs, which `fit` creates")
    everything = [read(directory) for directory in run_directory.all_in(given.logs)]
    records = sort(where(everything, given.where), given.sort or "started")
    if given.format == "json":
        print(run_table.as_json(records), end="")
    elif given.format == "csv":
        print(run_table.as_csv(records), end="")
    elif records:
        run_table.print_table(records, given.sort)
    else:
        print(f"no runs in {given.logs}" + (f" with {' and '.join(given.where)}" if given.where else ""))
    for record in everything:
        for line in record.damaged:
            print(line, file=sys.stderr)
    return 0
