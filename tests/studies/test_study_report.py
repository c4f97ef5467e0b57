"""The report of a study, from the files of runs written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from src.errors import UserError
from src.studies import study_report
from src.studies.study import Study
from src.studies.study_summary import StudySummary
from tests.studies.runs import finished, model, write_run


def write_member(logs: Path, name: str, acc: float, right: int | None = None, **config: float) -> Path:
    """A finished run; `right` of ten test samples are classified correctly."""
    directory = write_run(logs, f"s/{name}", {**model("Net"), **config}, finished(acc))
    (directory / ".finished").touch()
    if right is not None:
        rows = [f"{index},a,{'a' if index < right else 'b'},0.5,0.5" for index in range(10)]
        (directory / "test_predictions.csv").write_text("\n".join(["index,true,predicted,p(a),p(b)", *rows]))
    return directory


def study(logs: Path, *recipes: str, seeds: int = 3, folds: int | None = None) -> StudySummary:
    return StudySummary(Study(logs / "s", {name: Path(f"{name}.yaml") for name in recipes}, range(seeds), folds))


def test_mean_std_and_interval_of_the_seeds(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.7, 0.8, 0.9)):
        write_member(tmp_path, f"one_seed-{seed}", acc, seed_everything=seed)
    text = study_report.as_markdown(study(tmp_path, "one"))
    # 0.1 * 4.303 / sqrt(3) is 0.248.
    assert "| one | 3 | 0.8000 | 0.1000 | 0.5516 to 1.0484 | 0.7000 | 0.9000 |" in text
    assert "Notes" not in text


def test_a_difference_that_the_seeds_can_tell_and_one_that_they_cannot(tmp_path: Path) -> None:
    for seed, acc in enumerate((0.7, 0.8, 0.9)):
        write_member(tmp_path, f"one_seed-{seed}", acc, right=5)
        write_member(tmp_path, f"better_seed-{seed}", acc + 0.05 + 0.001 * seed, right=9)
        write_member(tmp_path, f"same_seed-{seed}", acc + 0.01 * (seed - 1) + 0.002, right=5)
    summary = study(tmp_path, "one", "better", "same")
    text = study_report.as_markdown(summary)
    assert "| better | 3 | +0.0510 | +0.0485 to +0.0535 | better |" in text
    assert "| same | 3 | +0.0020 | -0.0228 to +0.0268 | **these 3 cannot tell them apart**; a difference" in text
    assert "| 1 | 4 | 0 | 0.125 |" in text and "| vote of the seeds |" in text
    content = json.loads(study_report.as_json(summary))
    assert content["comparisons"][0]["mcnemar"]["2"] == {"only_first": 4, "only_second": 0, "p": 0.125}
    assert content["comparisons"][1]["seeds_needed"] > 3


def test_images_with_several_labels_have_another_metric_and_no_vote(tmp_path: Path) -> None:
    for name, value in (("one", 0.7), ("two", 0.9)):
        for seed in range(2):
            directory = write_member(tmp_path, f"{name}_seed-{seed}", 0.5)
            results = json.loads((directory / "results.json").read_text())
            results["test"] = {"test/map": value + 0.01 * seed}
            (directory / "results.json").write_text(json.dumps(results))
            rows = ["index,true,predicted,p(a),p(b)", "0,a;b,a;b,0.9,0.8", f"1,a,{name[:1]},0.1,0.2"]
            (directory / "test_predictions.csv").write_text("\n".join(rows))
    text = study_report.as_markdown(study(tmp_path, "one", "two", seeds=2))
    assert "mean difference in test/map" in text and "| two | 2 | +0.2000 |" in text
    assert "McNemar" in text and "vote" not in text


def test_runs_without_a_metric_in_common_are_not_compared(tmp_path: Path) -> None:
    for name, metric in (("one", "acc"), ("two", "map")):
        directory = write_member(tmp_path, f"{name}_seed-0", 0.5)
        (directory / "results.json").write_text(
            json.dumps({"fit": {"state": "finished"}, "test": {f"test/{metric}": 1}})
        )
    with pytest.raises(UserError, match="have none of test/acc, test/map, val/acc, val/map in common"):
        study(tmp_path, "one", "two", seeds=1)


def test_what_is_missing_or_differs_is_noted(tmp_path: Path) -> None:
    write_member(tmp_path, "one_seed-0", 0.7, seed_everything=0, batch=2)
    other = write_member(tmp_path, "one_seed-1", 0.8, seed_everything=1, batch=3)
    (other / "manifest.json").write_text(json.dumps({"git": {"commit": "b"}}))
    text = study_report.as_markdown(study(tmp_path, "one"))
    assert "| one | 2 of 3 |" in text
    notes = text.partition("## Notes")[2]
    assert "one_seed-2 is missing" in notes and "differ in git" in notes and "seed_everything" not in notes
    assert "the runs of one differ in batch: 2, 3" in notes


def test_one_seed_has_no_interval_and_an_empty_study_no_figures(tmp_path: Path) -> None:
    assert "| one | 0 of 1 | missing | missing |" in study_report.as_markdown(study(tmp_path, "one", seeds=1))
    write_member(tmp_path, "one_seed-0", 0.7)
    write_member(tmp_path, "two_seed-0", 0.9)
    text = study_report.as_markdown(study(tmp_path, "one", "two", seeds=1))
    assert "| one | 1 | 0.7000 | unknown | unknown |" in text and "**one run of each cannot tell them apart**" in text


def write_fold(logs: Path, seed: int, fold: int, acc: float) -> None:
    directory = write_run(
        logs, f"s/one_seed-{seed}_fold-{fold}-of-2", {}, {"fit": {"state": "finished", "last": {"val/acc": acc}}}
    )
    (directory / ".finished").touch()
    rows = [f"{index},a,a,0.9,0.1" for index in range(fold, 6, 2)]
    (directory / "val_predictions.csv").write_text("\n".join(["index,true,predicted,p(a),p(b)", *rows]))


def test_folds_of_one_seed_are_values_and_those_of_several_are_averaged(tmp_path: Path) -> None:
    for seed in range(2):
        for fold in range(2):
            write_fold(tmp_path, seed, fold, 0.5 + 0.2 * fold + 0.1 * seed)
    one = study(tmp_path, "one", seeds=1, folds=2)
    assert (one.metric, one.unit) == ("val/acc", "fold")
    assert "| one | 2 | 0.6000 | 0.1414 |" in study_report.as_markdown(one)
    two = study(tmp_path, "one", seeds=2, folds=2)
    assert "| one | 2 | 0.6500 | 0.0707 |" in study_report.as_markdown(two)


def test_all_files_are_written(tmp_path: Path) -> None:
    for fold in range(2):
        write_fold(tmp_path, 0, fold, 0.5 + 0.1 * fold)
    study_report.write(study(tmp_path, "one", seeds=1, folds=2))
    folder = tmp_path / "s"
    with (folder / "one_seed-0_out-of-fold.csv").open() as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["0", "1", "2", "3", "4", "5"]
    with (folder / "study.csv").open() as file:
        assert [row["val/acc"] for row in csv.DictReader(file)] == ["0.5", "0.6"]
    assert (folder / "study.png").stat().st_size > 5000
    assert json.loads((folder / "study.json").read_text())["recipes"]["one"]["values"] == {
        "0": {"val/acc": 0.5},
        "1": {"val/acc": pytest.approx(0.6)},
    }
