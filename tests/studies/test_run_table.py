"""The formats in which runs are listed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from src.studies import run_table
from src.studies.flat_config import ClassPath
from src.studies.run_record import RunRecord

RUNS = [
    RunRecord(
        Path(f"logs/cifar10/2026-01-0{number}"),
        "cifar10",
        state="finished",
        epochs=2,
        seconds=12.4,
        metrics={"test/acc": number / 10, "test/loss": 1.0},
        config={"model.optimizer": ClassPath("torch.optim.SGD"), "trainer.max_epochs": 3, "model.optimizer.lr": number},
    )
    for number in (1, 2)
]


def test_json_has_all_metrics_and_what_differs() -> None:
    first, second = json.loads(run_table.as_json(RUNS))
    assert (first["run"], first["state"]) == ("cifar10/2026-01-01", "finished")
    assert second["metrics"] == {"test/acc": 0.2, "test/loss": 1.0}
    assert second["differs"] == {"model.optimizer.lr": 2}


def test_csv_has_a_column_for_each() -> None:
    rows = list(csv.DictReader(run_table.as_csv(RUNS).splitlines()))
    assert [row["model.optimizer.lr"] for row in rows] == ["1", "2"]
    assert [row["test/acc"] for row in rows] == ["0.1", "0.2"]


def test_a_table_has_one_column_for_each_key(capsys: pytest.CaptureFixture[str]) -> None:
    run_table.print_table(RUNS, "test/loss")
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "epochs", "seconds", "test/acc", "test/loss", "lr"]
    assert first.split() == ["cifar10/2026-01-01", "finished", "2/3", "12", "0.1000", "1.0000", "1"]
    assert second.split()[-1] == "2"


def test_a_narrow_table_has_what_differs_below_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "WIDTH", 60)
    run_table.print_table(RUNS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[2::2]] == ["lr=1", "lr=2"]
    assert max(map(len, lines)) <= 60


def test_classes_of_the_same_name_have_their_path(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [RunRecord(Path("a/b"), "a", config={"model.optimizer": ClassPath(f"{one}.Muon")}) for one in ("src", "x")]
    run_table.print_table(runs)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["optimizer", "src.Muon", "x.Muon"]
