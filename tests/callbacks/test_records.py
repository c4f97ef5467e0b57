"""manifest.json and results.json."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from src.callbacks.records import flat, numbers
from tests.callbacks.test_signals import Send
from tests.toys import Squares, classifier, trainer


def test_a_fit_and_its_test_are_recorded(tmp_path: Path) -> None:
    trainer(tmp_path, max_epochs=2).fit(classifier(), datamodule=Squares())
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["fit"]["epochs"], results["fit"]["steps"]) == (2, 8)
    assert results["fit"]["best"]["val/acc"] >= results["fit"]["last"]["val/acc"]
    assert results["test"]["checkpoint"] == "best.ckpt"
    assert 0 <= results["test"]["test/acc"] <= 1


def test_a_run_stopped_in_its_last_validation_has_its_results(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(SystemExit):
        trainer(tmp_path, callbacks=Send("on_validation_start", 0, signal.SIGTERM)).fit(
            classifier(), datamodule=Squares()
        )
    trainer(tmp_path).fit(classifier(), datamodule=Squares(), resume=str(tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["fit"]["steps"] == 4
    assert "val/acc" in results["fit"]["last"]
    assert "test/acc" in results["test"]


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
