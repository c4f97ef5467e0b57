"""The predictions of runs, and their vote."""

from __future__ import annotations

from pathlib import Path

from src.studies import predictions
from src.studies.predictions import vote


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["index,true,predicted,p(cat),p(dog)", *rows]) + "\n")
    return path


def test_folds_are_read_in_the_order_of_the_dataset_and_written_again(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "0.csv", "2,cat,cat,0.900000,0.100000", "10,dog,cat,0.600000,0.400000"),
        write(tmp_path / "1.csv", "3,dog,dog,0.200000,0.800000"),
    ]
    read = predictions.read(files)
    assert read.indices_N.tolist() == [2, 3, 10] and read.correct == [True, True, False]
    predictions.write(tmp_path / "all.csv", read)
    assert predictions.read([tmp_path / "all.csv"]).same_samples(read)
    assert (tmp_path / "all.csv").read_text().splitlines()[3] == "10,dog,cat,0.600000,0.400000"


def test_a_vote_is_of_the_mean_probabilities(tmp_path: Path) -> None:
    runs = [
        predictions.read([write(tmp_path / f"{number}.csv", f"0,dog,{name},{1 - p:.6f},{p:.6f}")])
        for number, (name, p) in enumerate([("cat", 0.4), ("cat", 0.4), ("dog", 0.9)])
    ]
    assert vote(runs).correct == [True] and vote(runs[:2]).correct == [False]


def test_other_samples_are_not_compared(tmp_path: Path) -> None:
    one, other = (
        predictions.read([write(tmp_path / f"{index}.csv", f"{index},cat,cat,0.9,0.1")]) for index in range(2)
    )
    assert one.same_samples(one) and not one.same_samples(other)
