"""Predictions as a table."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.toys import Squares, classifier, trainer


def test_predictions_are_a_table(tmp_path: Path) -> None:
    trainer(tmp_path).predict(classifier(), datamodule=Squares(size=20))
    rows = list(csv.reader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert rows[0] == ["sample", "true", "predicted", "p(red)", "p(green)", "p(blue)"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(20)]
    assert [row[1] for row in rows[1:4]] == ["red", "green", "blue"]
