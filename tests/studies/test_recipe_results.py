"""The rows of runs, from files written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.studies import recipe_results, run_record
from src.studies.recipe_results import RecipeResults, configuration, differences, recipe_of, result_of
from tests.studies.runs import finished, model, write_run

MANIFEST = {
    "started": "2026-01-01T00:00:00",
    "command": "python -m src fit --config=logs/s/recipes/wide.yaml --config=bf16.yaml --seed_everything=1",
    "hardware": {"cpu": "A", "threads": 2, "gpus": []},
    "git": {"commit": "0123456789", "changed": {}},
    "precision": "32-true",
    "packages": {"torch": "2.15.0", "lightning": "2.6.6", "numpy": "2"},
    "data": {"train": {"sha256": "abc"}},
}


def record(folder: Path, name: str = "s/wide_seed-1", **manifest: Any) -> run_record.RunRecord:
    results = finished(0.75, **{"test/loss": 0.5, "test/acc_of/cat": 1.0})
    results["fit"]["steps"] = 50
    config = {
        "seed_everything": 1,
        **model("Wide", width=3),
        "data": {"class_path": "D", "init_args": {"batch_size": 8}},
    }
    directory = write_run(folder, name, config, results)
    (directory / "manifest.json").write_text(json.dumps({**MANIFEST, **manifest}))
    return run_record.read(directory)


def test_a_run_is_one_row(tmp_path: Path) -> None:
    result, own = result_of(record(tmp_path), "configs/wide.yaml", 1000)
    assert result.metrics == {"test/acc": 0.75, "test/loss": 0.5, "val/acc": 0.75, "val/loss": 2.0}
    assert (result.seed, result.seconds, result.images) == (1, 3.5, 400)
    assert result.hardware == {"cpu": "A", "threads": 2, "gpus": [], "processes": 1}
    assert result.packages == {"torch": "2.15.0", "lightning": "2.6.6"}
    assert result.commits == ["0123456"]
    assert own["model.net.width"] == 3 and own["data.sha256"] == "abc"


def test_a_run_that_another_commit_or_machine_has_resumed_says_so(tmp_path: Path) -> None:
    later = {**MANIFEST, "git": {"commit": "fedcba9876", "changed": {"a.py": "1"}}}
    result, _ = result_of(record(tmp_path, "a/1", resumed=[later]), "", None)
    assert (result.commits, result.seconds) == (["0123456", "fedcba9+"], 3.5)
    moved = {**MANIFEST, "git": {"commit": None}, "hardware": {"cpu": "B"}}
    result, _ = result_of(record(tmp_path, "a/2", resumed=[moved]), "", None)
    assert (result.commits, result.seconds) == (["0123456"], None)


@pytest.mark.parametrize(
    ("command", "recipe"),
    [
        (MANIFEST["command"], "configs/wide.yaml"),
        ("python -m src fit --config configs/deep.yaml --data.batch_size 3", "configs/deep.yaml"),
        ("python -m src fit -c deep.yaml", "configs/deep.yaml"),
        ("python -m src fit --config other.yaml", None),
        ("python train.py", "configs/wide.yaml"),  # by the folder of the run
    ],
)
def test_the_recipe_of_a_run_is_the_first_file_of_its_command(command: str, recipe: str | None, tmp_path: Path) -> None:
    assert recipe_of(record(tmp_path, "wide/1", command=command), ["configs/wide.yaml", "configs/deep.yaml"]) == recipe


def test_machine_places_and_display_are_no_part_of_a_configuration() -> None:
    shown = {"trainer.precision": "auto", "trainer.devices": 2, "data.data_dir": "/a", "data.urls": ["b"]}
    trained = {"trainer.max_epochs": 3, "model.lr": 0.1, "data": "D", "data.batch_size": 8}
    own = configuration(
        {**shown, **trained, "trainer.callbacks": "EMA, SamplePredictions", "trainer.callbacks.EMA.decay": 1}
    )
    callbacks = {"trainer.callbacks": "EMA", "trainer.callbacks.EMA.decay": 1}
    assert own == {**trained, **callbacks, "model.init_from": False}
    assert configuration({"model.init_from": "/a/b@last"})["model.init_from"] is True


def test_an_argument_that_was_added_since_differs_only_where_the_recipe_states_it() -> None:
    before, now = {"a": 1, "removed": 2}, {"a": 1, "added": None}
    assert differences(before, now) == []
    assert differences(before, now | {"a": 3}) == ["a 1 instead of 3"]
    assert differences(before, now | {"added": 4}, {"added"}) == ["added null instead of 4"]


def test_runs_are_added_once_and_read_again(tmp_path: Path) -> None:
    results = RecipeResults(["configs/deep.yaml", "configs/wide.yaml"])
    result, own = result_of(record(tmp_path), "configs/wide.yaml", None)
    assert results.add(result, own) and not results.add(result, own)
    other, own = result_of(record(tmp_path, "a/1", started="2026-01-02"), "configs/wide.yaml", None)
    assert results.add(other, own)
    recipe_results.write(tmp_path / "results.json", results)
    again = recipe_results.read(tmp_path / "results.json")
    assert again == results and [run.started for run in again.of("configs/wide.yaml")] == [result.started, "2026-01-02"]
    assert recipe_results.read(tmp_path / "none.json") == RecipeResults()


@pytest.mark.parametrize("text", ["{", "{}", '{"recipes": [], "configurations": {}, "runs": [{"seed": 1}]}'])
def test_a_damaged_file_is_not_overwritten(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=r"results\.json is not a file of results"):
        recipe_results.read(tmp_path / "results.json")
