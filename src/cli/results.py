"""`python -m src results`: a page with the results of recipes, from their runs."""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

import torch
import yaml

from src.cli import trained_run
from src.cli.command_line import CLI
from src.cli.overview import SUBCOMMANDS
from src.errors import UserError
from src.models.layers import multiply_adds
from src.runtime import run_directory
from src.studies import recipe_results, results_page, run_record
from src.studies.flat_config import flatten
from src.studies.recipe_results import Configuration, RecipeResults, configuration, differences

_EPILOG = """Runs that are there already stay, also where their directories are gone. A run counts if it is finished and
tested, with the configuration that its recipe has now."""

Present = dict[str, tuple[Configuration, set[str]]]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m src results", description=SUBCOMMANDS["results"], epilog=_EPILOG)
    parser.add_argument("directories", type=Path, nargs="*", metavar="DIR", help="runs, or folders of runs, to add")
    parser.add_argument(
        "--config", type=Path, nargs="+", action="extend", default=[], metavar="FILE",
        help="recipes to add, which are listed as missing until they have runs",
    )  # fmt: skip
    parser.add_argument(
        "--page", type=Path, default=Path("docs/results.md"),
        help="the page; the runs are in the .json file of the same name (default: docs/results.md)",
    )  # fmt: skip
    return parser


def make_page(arguments: list[str]) -> None:
    """Adds recipes and runs, and writes the page, its file, and the line `result` in the head of each recipe.

    Raises:
        UserError: if a directory or a recipe does not exist, or the file is damaged.
    """
    given = build_parser().parse_args(arguments)
    file = given.page.with_suffix(".json")
    results = recipe_results.read(file)
    results.recipes = list(dict.fromkeys([*results.recipes, *map(str, given.config)]))
    for path in map(Path, results.recipes):
        if not path.is_file():
            raise UserError(f"{path} is not a file; give recipes as --config, or remove it from {file}")
    if not results.recipes:
        raise UserError(f"{file} has no recipes; give them as --config FILE...")
    present = {recipe: _present(recipe) for recipe in results.recipes if results.of(recipe)}
    for directory in given.directories:
        runs = [directory] if run_directory.is_run(directory) else run_directory.all_in(directory)
        if not runs:
            raise UserError(f"{directory} is not a run and has none in it")
        for run in runs:
            print(f"{run}: {_add(run, results, present)}", flush=True)
    recipe_results.write(file, results)
    rows = results_page.rows(results, present)
    run_directory.write_text(given.page, results_page.as_markdown(rows, given.page))
    for row in rows:
        if (head := results_page.head(row)) != row.head:
            path = Path(row.path)
            run_directory.write_text(path, head + path.read_text().removeprefix(row.head))
    print(f"{sum(bool(row.runs) for row in rows)} of {len(rows)} recipes have results in {given.page}")


def _present(recipe: str) -> tuple[Configuration, set[str]]:
    """The configuration of a recipe as it is now, and the keys that its file states."""
    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        CLI(["fit", f"--config={recipe}", "--print_config"])
    stated = flatten(yaml.safe_load(Path(recipe).read_text()))
    return configuration(flatten(yaml.safe_load(output.getvalue()))), set(configuration(stated))


def _add(directory: Path, results: RecipeResults, present: Present) -> str:
    """Adds a run; returns what became of it."""
    record = run_record.read(directory)
    if record.damaged:
        return f"left out: {record.damaged[0]}"
    if record.state != "finished" or not any(f"test/{name}" in record.metrics for name in recipe_results.METRICS):
        return "left out, as it is not finished and tested"
    if not (recipe := recipe_results.recipe_of(record, results.recipes)):
        return "left out: its recipe is not in the table; give it as --config"
    if recipe not in present:
        present[recipe] = _present(recipe)
    result, own = recipe_results.result_of(record, recipe, _multiply_adds(directory))
    expected, stated = present[recipe]
    # Those that count have the images of the first.
    counted = [results.configurations[run.configuration] for run in results.of(recipe)]
    images = next((one for one in counted if not differences(one, expected, stated)), {})
    if differs := differences(own, images | expected, stated):
        return f"left out, as it is of another configuration than {recipe}: {', '.join(differs)}"
    return "added" if results.add(result, own) else "is known"


def _multiply_adds(directory: Path) -> int | None:
    """Of the forward pass of one image in training."""
    classifier = trained_run.load(str(directory)).classifier
    spec, net = classifier.spec, classifier.net.train()
    return multiply_adds(net, torch.zeros(2, spec.channels, *spec.size))  # batch norm cannot train on one
