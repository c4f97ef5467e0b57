"""manifest.json and results.json."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from src.callbacks.records import flat, numbers
from tests.toys import Squares, classifier, trainer


def test_a_fit_and_its_test_are_recorded(tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=2).fit(classifier(), datamodule=Squares())
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["fit"]["epochs"], results["fit"]["steps"]) == (2, 8)
    assert results["fit"]["best"]["val/acc"] >= results["fit"]["last"]["val/acc"]
    assert results["test"]["checkpoint"] == "best.ckpt"
    assert 0 <= results["test"]["test/acc"] <= 1


def test_the_manifest_tells_what_it_ran_on(tmp_path: Path) -> None:
    data = Squares(seed=5)
    trainer(tmp_path).fit(classifier(), datamodule=data, test_after_fit=False)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seed"] == 5
    assert manifest["precision"] == "32-true"
    assert manifest["processes"] == 1
    assert manifest["data"]["train"]["pictures"] == 30
    assert manifest["data"]["train"]["sha256"] == data.describe()["train"]["sha256"]
    other = Squares(size=29)
    other.setup("fit")
    assert other.describe()["train"]["sha256"] != manifest["data"]["train"]["sha256"]


def test_metrics_are_rounded_and_sorted() -> None:
    assert list(numbers({"b": torch.tensor(1 / 3), "a": torch.tensor(2)}).items()) == [("a", 2.0), ("b", 0.333333)]


def test_a_nested_configuration_is_laid_flat() -> None:
    config = {"net": {"class_path": "A", "init_args": {"size": 3}}, "augment": ["x"], "none": None}
    assert flat(config) == {"net.class_path": "A", "net.size": 3, "augment.0": "x", "none": "none"}
