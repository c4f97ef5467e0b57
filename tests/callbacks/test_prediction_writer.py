"""Predictions as a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.toys import Squares, classifier, trainer


def test_one_row_per_sample_in_the_order_of_the_dataset(tmp_path: Path) -> None:
    trainer(tmp_path).predict(classifier(), datamodule=Squares(size=20))
    rows = list(csv.reader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert rows[0] == ["index", "true", "predicted", "p(red)", "p(green)", "p(blue)"]
    assert [row[0] for row in rows[1:]] == [str(index) for index in range(20)]
    assert [row[1] for row in rows[1:4]] == ["red", "green", "blue"]
    assert all(abs(sum(map(float, row[3:])) - 1) < 1e-5 for row in rows[1:])


def test_samples_that_are_files_have_their_paths(tmp_path: Path) -> None:
    class Files(Squares):
        def test_paths(self) -> list[str]:
            return [f"class/\udcfc{index}.png" for index in range(20)]

    trainer(tmp_path, limit_predict_batches=1).predict(classifier(), datamodule=Files(size=20, batch_size=3))
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == [f"class/\\udcfc{index}.png" for index in range(3)]


def test_a_class_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    class Latin(Squares):
        classes = ("red", "green", "bl\udcfc")

    trainer(tmp_path).predict(classifier(), datamodule=Latin())
    assert "p(bl\\udcfc)" in (tmp_path / "predictions.csv").read_text()
