"""The runs as a table, CSV or JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from src.studies import tables
from src.studies.flat_config import as_text
from src.studies.run_record import RunRecord
from src.studies.run_selection import differing, short_names

METRICS = ("val/acc", "test/acc", "val/map", "test/map")  # of the table; CSV and JSON have all
COLORS = {"running": "cyan", "stopped": "yellow", "finished": "green", "died": "red"}
WIDTH = 200  # where the output is not a terminal


def as_json(records: Sequence[RunRecord]) -> str:
    """A list with one object per run."""
    keys = differing(records)
    rows = [
        {**one.columns(), "metrics": one.metrics, "differs": {k: one.config[k] for k in keys if k in one.config}}
        for one in records
    ]
    return json.dumps(rows, indent=2) + "\n"


def as_csv(records: Sequence[RunRecord]) -> str:
    """One row per run, one column per metric and per key that differs."""
    differences = _differences(records, differing(records))
    return tables.as_csv(
        [{**one.columns(), **one.metrics, **differs} for one, differs in zip(records, differences, strict=True)]
    )


def print_table(records: Sequence[RunRecord], sort_key: str | None = None) -> None:
    """Prints one row per run, with the metric by which they are sorted. What differs has a column for each key if these
    fit into the terminal, else it stands below the name of the run."""
    width = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else WIDTH
    console = Console(width=width)
    keys = differing(records)
    metrics = [name for name in METRICS if any(name in record.metrics for record in records)]
    if sort_key and any(sort_key in record.metrics for record in records):
        metrics = list(dict.fromkeys([*metrics, sort_key]))
    table = _table(records, metrics, short_names(keys))
    if Measurement.get(console, console.options.update(max_width=10**6), table).maximum > width:
        table = _table(records, metrics, short_names(keys), joined=True)
    console.print(table)


def _table(records: Sequence[RunRecord], metrics: Sequence[str], keys: dict[str, str], joined: bool = False) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for name in ("epochs", "seconds", *metrics):
        table.add_column(name, justify="right", no_wrap=True)
    for name in () if joined else keys.values():
        table.add_column(name, overflow="fold")
    for record, values in zip(records, _differences(records, list(keys)), strict=True):
        name = record.name
        if joined:
            name += "\n  " + " ".join(f"{keys[key]}={value}" for key, value in values.items())
        of = record.config.get("trainer.max_epochs")
        table.add_row(
            Text(name),
            Text(record.state, style=COLORS.get(record.state, "")),
            f"{record.epochs or 0}/{of}" if of and of > 0 else str(record.epochs or 0),
            f"{record.seconds:.0f}" if record.seconds is not None else "",
            *(f"{value:.4f}" if (value := record.metrics.get(name)) is not None else "" for name in metrics),
            *(Text(values.get(key, "")) for key in (() if joined else keys)),
        )
    return table


def _differences(records: Sequence[RunRecord], keys: Sequence[str]) -> list[dict[str, str]]:
    """What to show for each run: a class by its name, or by its path where two classes have the same name."""
    values = {key: [one.config[key] for one in records if key in one.config] for key in keys}
    full = {key for key in keys if len({*map(as_text, values[key])}) < len({*map(str, values[key])})}
    return [
        {key: str(one.config[key]) if key in full else as_text(one.config[key]) for key in keys if key in one.config}
        for one in records
    ]
