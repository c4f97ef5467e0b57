"""The results of recipes as a page, and as a line in the head of each recipe."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from os.path import relpath
from pathlib import Path
from typing import NamedTuple

from src.studies.recipe_results import METRICS, Configuration, RecipeResults, Result, differences
from src.studies.statistics import Summary, summarize
from src.studies.tables import markdown

# `#   result   ...` in the head of a recipe, with the lines that continue it.
_LINE = r"^#   {} +(.*(?:\n#     .*)*)$"
_FIGURE = re.compile(r"test accuracy ((?:about )?0\.\d+)")

_ABOUT = """\
Test accuracy is mean ± standard deviation over seeds, and validation accuracy that of the epoch with the best. The
runs of a row are those of `python -m src study --config RECIPE --seeds ...`; "notebook" is the figure in the line of
that name in the head of the recipe. Multiply-adds are those of the forward pass of one image in training (convolutions
and matrix products, as `torch.utils.flop_counter` counts them), and times the images trained on; a backward pass has
about twice as many.

`python -m src results DIR...` makes this page, and the line `result` in the head of each recipe, from run directories.
It adds these to [`{file}`]({file}), which has one row per run with all that is known about it.
"""
_TIMES = """\
Wall clock of training with its validations, without the test, and with whatever else the machine did. A `+` marks
code that differed from the commit.
"""


class RecipeRow(NamedTuple):
    """A recipe in the table."""

    path: str  # of its file
    head: str  # the comment at its start
    runs: list[Result]  # of its present configuration
    outdated: list[str]  # for each run of an earlier one, what differs

    @property
    def name(self) -> str:
        return Path(self.path).stem

    def summary(self, subset: str) -> tuple[str, Summary] | None:
        """The name of the metric, and its summary over the seeds: several runs of one count as one, with their mean."""
        for name in METRICS:
            of_seed: dict[int, list[float]] = defaultdict(list)
            for run in self.runs:
                if (value := run.metrics.get(f"{subset}/{name}")) is not None:
                    of_seed[run.seed].append(value)
            if of_seed:
                return name, summarize([statistics.fmean(values) for values in of_seed.values()])
        return None

    def by_machine(self) -> list[tuple[str, str, list[Result]]]:
        """Hardware, precision and runs, the fastest first."""
        groups: dict[tuple[str, str], list[Result]] = defaultdict(list)
        for run in self.runs:
            groups[_hardware(run), run.precision].append(run)
        return sorted(((*key, runs) for key, runs in groups.items()), key=lambda one: _seconds(one[2]) or math.inf)


def rows(results: RecipeResults, present: dict[str, tuple[Configuration, set[str]]]) -> list[RecipeRow]:
    """One row per recipe; `present` has, of each with runs, its configuration as it is now, and the keys that its file
    states."""
    found = []
    for path in results.recipes:
        runs, outdated = [], []
        for run in results.of(path):
            differs = differences(results.configurations[run.configuration], *present[path])
            outdated += [", ".join(differs)] if differs else []
            runs += [] if differs else [run]
        head = "".join(f"{line}\n" for line in Path(path).read_text().splitlines() if line.startswith("#"))
        found.append(RecipeRow(path, head, runs, outdated))
    return found


def as_markdown(table: Sequence[RecipeRow], page: Path) -> str:
    """The page, with links that are relative to where it will be."""
    return "\n".join(_lines(table, page))


def _lines(table: Sequence[RecipeRow], page: Path) -> Iterator[str]:
    yield "# Results"
    yield ""
    yield _ABOUT.format(file=page.with_suffix(".json").name)
    notebooks = {row.path: _of_notebook(row.head) for row in table}
    shown = any(notebooks.values())
    names = ["recipe", *(["notebook"] if shown else []), "test accuracy", "seeds", "validation accuracy"]
    cells = (
        [_link(row, page), *([notebooks[row.path] or ""] if shown else []), *_accuracies(row), *_multiply_adds(row)]
        for row in table
    )
    yield from markdown([*names, "multiply-adds per image", "in training"], cells)
    yield from (f"{note}\n" for row in table for note in _notes(row))
    yield "## Time"
    yield ""
    yield _TIMES
    yield from markdown(
        ("recipe", "hardware", "precision", "runs", "training", "versions", "commit"),
        (
            (row.name, hardware, precision, len(runs), _duration(_seconds(runs)), _versions(runs), _commits(runs))
            for row in table
            for hardware, precision, runs in row.by_machine()
        ),
    )


def _link(row: RecipeRow, page: Path) -> str:
    return f"[`{row.name}`]({relpath(row.path, page.parent)})"


def _of_notebook(head: str) -> str | None:
    """The accuracy in the line `notebook` of a head; None where it has no such line."""
    if not (line := re.search(_LINE.format("notebook"), head, re.MULTILINE)):
        return None
    return match[1] if (match := _FIGURE.match(line[1])) else "not shown"


def _accuracies(row: RecipeRow) -> tuple[str, str, str]:
    test, validation = row.summary("test"), row.summary("val")
    seeds = sorted({run.seed for run in row.runs})
    return (
        _mean_std(test) if test else "missing",
        ", ".join(map(str, seeds)),
        _mean_std(validation) if validation else "",
    )


def _mean_std(found: tuple[str, Summary]) -> str:
    name, summary = found
    return summary.mean_std + (" (mean average precision)" if name == "map" else "")


def _multiply_adds(row: RecipeRow) -> tuple[str, str]:
    known = next(((run.multiply_adds, run.images) for run in row.runs if run.multiply_adds), None)
    return (f"{known[0] / 1e6:.3g} million", f"{known[0] * known[1] / 1e12:.3g} trillion") if known else ("", "")


def _notes(row: RecipeRow) -> Iterator[str]:
    if row.outdated:
        what = "; ".join(dict.fromkeys(row.outdated))
        yield f"`{row.name}` has changed since {len(row.outdated)} of its runs, which do not count: {what}."


def _hardware(run: Result) -> str:
    on = run.hardware
    processes = f"{on['processes']} processes, " if on.get("processes", 1) > 1 else ""
    gpus = [f"{on['gpus'].count(name)} x {name}" for name in dict.fromkeys(on.get("gpus", ()))]
    threads = on.get("threads", 1)
    return processes + (", ".join(gpus) or f"{on.get('cpu', 'unknown')}, {threads} thread{'s' if threads > 1 else ''}")


def _seconds(runs: Sequence[Result]) -> float | None:
    known = [run.seconds for run in runs if run.seconds]
    return statistics.fmean(known) if known else None


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _versions(runs: Sequence[Result]) -> str:
    return "; ".join(dict.fromkeys(", ".join(f"{name} {it}" for name, it in run.packages.items()) for run in runs))


def _commits(runs: Sequence[Result]) -> str:
    return ", ".join(dict.fromkeys(commit for run in runs for commit in run.commits)) or "unknown"


def head(row: RecipeRow) -> str:
    """The head of a recipe with the accuracy of its runs in the line `result`, where it has one. The line `time` stays,
    since the machine of the runs may have had other load."""
    if not (test := row.summary("test")):
        return row.head
    result = f"test accuracy {_mean_std(test)}"
    if validation := row.summary("val"):
        result += f", validation {_mean_std(validation)}"
    seeds = len({run.seed for run in row.runs})
    result += f" ({seeds} seeds)" if seeds > 1 else " (one seed)"
    return re.sub(_LINE.format("result"), f"#   result   {result}", row.head, flags=re.MULTILINE)
