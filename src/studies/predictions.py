"""The predictions of a run, or of several, for the same samples.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Predictions(NamedTuple):
    """In ascending order of the indices."""

    indices_N: NDArray[np.int64]
    true_N: NDArray[np.str_]
    predicted_N: NDArray[np.str_]
    probabilities_NK: NDArray[np.float64]
    classes_K: NDArray[np.str_]

    @property
    def correct(self) -> list[bool]:
        return (self.true_N == self.predicted_N).tolist()

    @property
    def has_one_class(self) -> bool:
        """Whether each sample has exactly one class, so that the probabilities add up to 1."""
        return np.allclose(self.probabilities_NK.sum(1), 1, atol=0.01)

    def same_samples(self, other: Predictions) -> bool:
        return np.array_equal(self.indices_N, other.indices_N) and np.array_equal(self.true_N, other.true_N)


def read(files: Sequence[Path]) -> Predictions:
    """Reads one or more files of `src.callbacks.SamplePredictions`, of different samples and the same classes."""
    rows: list[list[str]] = []
    header: list[str] = []
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            header, *more = csv.reader(file)
        rows += more
    rows.sort(key=lambda row: int(row[0]))
    columns = np.array(rows, dtype=np.str_).T
    classes_K = np.array([name[2:-1] for name in header[3:]])  # p(NAME)
    return Predictions(columns[0].astype(np.int64), columns[1], columns[2], columns[3:].T.astype(np.float64), classes_K)


def write(path: Path, predictions: Predictions) -> None:
    """Writes the same format."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "true", "predicted", *(f"p({name})" for name in predictions.classes_K)])
        for index, true, predicted, probabilities_K in zip(*predictions[:4], strict=True):
            writer.writerow([index, true, predicted, *(f"{value:.6f}" for value in probabilities_K)])


def vote(of_runs: Sequence[Predictions]) -> Predictions:
    """The mean probabilities of several runs, and the class with the highest."""
    probabilities_NK = np.mean([one.probabilities_NK for one in of_runs], axis=0)
    first = of_runs[0]
    predicted_N = first.classes_K[probabilities_NK.argmax(1)]
    return first._replace(predicted_N=predicted_N, probabilities_NK=probabilities_NK)
