"""The predictions of each sample of validation and test."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from src.callbacks import SamplePredictions
from tests.toys import CallAt, Interrupted, Squares, fit


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_accuracies_are_those_of_the_run(tmp_path: Path) -> None:
    trainer = fit(tmp_path, data=Squares(folds=3, fold=1), callbacks=[SamplePredictions()], test=True, max_epochs=2)
    validated, tested = rows(tmp_path / "val_predictions.csv"), rows(tmp_path / "test_predictions.csv")
    assert (len(validated), len(tested)) == (10, 30)
    assert [int(row["index"]) for row in validated] == trainer.datamodule.val_indices.tolist()  # pyright: ignore
    test_acc = float(trainer.callback_metrics["test/acc"])
    assert abs(sum(row["true"] == row["predicted"] for row in tested) / 30 - test_acc) < 1e-6


def test_without_folds_the_validation_is_not_written(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=[SamplePredictions()])
    assert not (tmp_path / "val_predictions.csv").exists()


def test_a_run_that_is_interrupted_ends_with_the_same_predictions(tmp_path: Path) -> None:
    def run(name: str, *callbacks: CallAt, resume: bool = False) -> None:
        data = Squares(folds=3)
        fit(tmp_path / name, data=data, callbacks=[SamplePredictions(), *callbacks], max_epochs=3, resume=resume)

    run("undisturbed")
    try:
        run("killed", CallAt("on_train_batch_end", 7))
    except Interrupted:
        run("killed", resume=True)
    texts = [(tmp_path / name / "val_predictions.csv").read_text() for name in ("undisturbed", "killed")]
    assert texts[0] == texts[1]
    assert torch.tensor([float(row["p(red)"]) for row in rows(tmp_path / "killed/val_predictions.csv")]).std() > 0
