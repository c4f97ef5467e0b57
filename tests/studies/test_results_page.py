"""The page of results, from rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from src.studies.recipe_results import RecipeResults, Result
from src.studies.results_page import RecipeRow, as_markdown, head, rows

HEAD = """# A recipe.
#
#   notebook test accuracy about 0.75 according to its text
#   result   not measured
#            yet
#   time     not measured yet
#   command  python -m src fit
#
# More.
"""


def run(seed: int, acc: float, seconds: float | None = 100.0, threads: int = 1, **other: Any) -> Result:
    hardware = {"cpu": "A", "threads": threads, "gpus": [], "processes": 1}
    values = {"configuration": "x", "images": 2_000_000, "multiply_adds": 24_000_000, "precision": "32-true"}
    packages, commits = {"torch": "2.15.0"}, ["0123456"]
    given = {**values, "hardware": hardware, "packages": packages, "commits": commits, **other}
    return Result(
        "r.yaml", seed, f"{seed} {threads}", metrics={"test/acc": acc, "val/acc": 0.5}, seconds=seconds, **given
    )


@pytest.fixture(autouse=True)
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(HEAD + "model:\n  # a comment\n  lr: 1\n")


def row(*runs: Result, now: float = 1) -> RecipeRow:
    results = RecipeResults(["r.yaml"], {"x": {"model.lr": 1}}, list(runs))
    return rows(results, {"r.yaml": ({"model.lr": now}, {"model.lr"})})[0]


def page(of: RecipeRow) -> list[str]:
    return [
        line
        for line in as_markdown([of], Path("docs/results.md")).splitlines()
        if line.startswith(("| [", "| r |", "`r`"))
    ]


def test_a_recipe_without_runs_is_missing() -> None:
    assert page(row())[0] == "| [`r`](../r.yaml) | about 0.75 | missing |  |  |  |  |"
    assert head(row()) == HEAD


def test_mean_and_standard_deviation_over_seeds() -> None:
    found = page(row(run(0, 0.7), run(2, 0.9)))
    first = "| [`r`](../r.yaml) | about 0.75 | 0.8000 ± 0.1414 | 0, 2 | 0.5000 ± 0.0000 | 24 million | 48 trillion |"
    assert found[0] == first
    assert found[-1] == "| r | A, 1 thread | 32-true | 2 | 2 min | torch 2.15.0 | 0123456 |"


def test_machines_have_their_times_apart_and_runs_of_one_seed_count_once() -> None:
    on_two = [run(0, 0.9, 60.0, threads=2), run(1, 0.8, 80.0, threads=2)]
    found = page(row(run(0, 0.7), *on_two))
    assert "| 0.8000 ± 0.0000 | 0, 1 |" in found[0]  # seed 0 has 0.8
    assert found[1:] == [
        "| r | A, 2 threads | 32-true | 2 | 70 s | torch 2.15.0 | 0123456 |",
        "| r | A, 1 thread | 32-true | 1 | 2 min | torch 2.15.0 | 0123456 |",
    ]


def test_gpus_processes_and_an_unknown_time() -> None:
    hardware = {"cpu": "A", "threads": 1, "gpus": ["G", "G"], "processes": 2}
    assert "| r | 2 processes, 2 x G | 32-true | 1 | unknown |" in page(row(run(0, 0.7, None, hardware=hardware)))[-1]


def test_runs_of_an_earlier_configuration_do_not_count() -> None:
    found = page(row(run(0, 0.7), run(1, 0.8), now=2))
    assert "| missing |" in found[0]
    assert found[1:] == ["`r` has changed since 2 of its runs, which do not count: model.lr 1 instead of 2."]


def test_mean_average_precision_is_named() -> None:
    of = run(0, 0.0)
    of.metrics = {"test/map": 0.25}
    assert "| 0.2500 (mean average precision) | 0 |  |" in page(row(of))[0]


def test_the_result_in_the_head() -> None:
    result = "#   result   test accuracy 0.8000 ± 0.1414, validation 0.5000 ± 0.0000 (2 seeds)\n"
    expected = HEAD.replace("#   result   not measured\n#            yet\n", result)
    assert head(row(run(0, 0.7), run(2, 0.9))) == expected
