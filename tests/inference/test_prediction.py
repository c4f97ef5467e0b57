"""Predictions on files."""

from __future__ import annotations

import csv
import importlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.errors import UserError
from src.inference.prediction import Counts, predict

SPEC = ImageSpec(("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3, (4, 4), 3)
COLORS = {"red": (250, 5, 0), "green": (0, 250, 5), "blue": (5, 0, 250)}


def brightness(images_BSSC: Tensor) -> Tensor:
    """Probability k is the fraction of the light that is in channel k."""
    sums_BK = images_BSSC.float().sum((1, 2))
    return sums_BK / sums_BK.sum(1, keepdim=True)


def run(paths: list[Path], output: Path, **kwargs: Any) -> Counts:
    options: dict[str, Any] = {"spec": SPEC, "max_pixels": 1000, "batch_size": 2, **kwargs}
    return predict(map(str, paths), brightness, output=output, **options)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five images, of which the class is the name, and two files that are none."""
    names = ["blue-0", "red-1", "bad-2", "green-3", "bad-4", "red-5", "blue-6"]
    for name in names:
        if name.startswith("bad"):
            (tmp_path / f"{name}.png").write_bytes(b"")
        else:
            Image.new("RGB", (7, 5), COLORS[name.partition("-")[0]]).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in names]


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_rows_in_the_order_of_the_files_and_a_report_of_the_others(
    num_workers: int, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(files, tmp_path / "out/p.csv", num_workers=num_workers, top_k=2) == Counts(predicted=5, bad=2)
    rows = list(csv.DictReader((tmp_path / "out/p.csv").read_text().splitlines()))
    assert [row["path"] for row in rows] == [str(path) for path in files if "bad" not in path.name]
    assert [row["class"] for row in rows] == ["blue", "red", "green", "red", "blue"]
    assert (rows[1]["probability"], rows[1]["class_2"], rows[1]["probability_2"]) == ("0.980392", "green", "0.019608")
    report = list(csv.reader((tmp_path / "out/p.report.csv").read_text().splitlines()))
    assert report == [["path", "reason"], [str(files[2]), "empty"], [str(files[4]), "empty"]]
    assert f"{files[2]}: empty" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["p.csv", "p.report.csv"]


def test_json_lines_and_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    Image.new("RGB", (4, 4), COLORS["green"]).save(path)
    assert run([path], tmp_path / "p.jsonl") == Counts(1, 0)
    (row,) = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    assert row == {"path": f"{tmp_path}/\\xff.png", "class": "green", "probability": 0.980392}
    assert not (tmp_path / "p.report.csv").exists()


@pytest.mark.parts
def test_parquet(files: list[Path], tmp_path: Path) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    run(files, tmp_path / "p.parquet", top_k=2)
    table = parquet.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["path", "class", "probability", "class_2", "probability_2"]
    assert table["class"].to_pylist() == ["blue", "red", "green", "red", "blue"]
    assert table["probability"].to_pylist() == [0.980392] * 5


def test_parquet_without_its_package_is_refused(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="needs the package pyarrow"):
        run(files, tmp_path / "p.parquet")
    assert not list(tmp_path.glob("*.p*.part")) and not (tmp_path / "p.parquet").exists()


def test_all_classes_above_the_threshold_of_several_labels(files: list[Path], tmp_path: Path) -> None:
    run(files[:2], tmp_path / "p.csv", spec=replace(SPEC, multi_label=True, threshold=0.01))
    assert [row["classes"] for row in csv.DictReader((tmp_path / "p.csv").read_text().splitlines())] == [
        "red;blue",
        "red;green",
    ]


def test_the_most_probable_of_several_labels(files: list[Path], tmp_path: Path) -> None:
    run(files[:1], tmp_path / "p.jsonl", spec=replace(SPEC, multi_label=True, threshold=0.5), top_k=2)
    (row,) = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    expected = {
        "classes": "blue",
        "class": "blue",
        "probability": 0.980392,
        "class_2": "red",
        "probability_2": 0.019608,
    }
    assert row == {"path": str(files[0]), **expected}


def test_deep_images_of_an_unknown_kind_are_scaled_by_their_values_which_is_reported(tmp_path: Path) -> None:
    Image.fromarray((torch.arange(16).view(4, 4) * 4095 // 15).to(torch.uint16).numpy()).save(tmp_path / "a.tif")
    run([tmp_path / "a.tif"], tmp_path / "p.csv")
    assert "4095 becomes white" in (tmp_path / "p.report.csv").read_text()
    run([tmp_path / "a.tif"], tmp_path / "p.csv", white=4095.0)
    assert not (tmp_path / "p.report.csv").exists()


def test_an_error_leaves_the_output_as_it_was(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "p.csv"
    output.write_text("before")
    for paths, options, words in (
        ([], {}, "no image files"),
        (files, {"top_k": 4}, "top_k 4 must be between 1 and 3"),
        (files, {"output": tmp_path / "p.txt"}, "must end in .csv, .jsonl, .parquet"),
    ):
        with pytest.raises(UserError, match=words):
            run(paths, **{"output": output, **options})
    assert output.read_text() == "before"
    assert not list(tmp_path.glob(".*"))
