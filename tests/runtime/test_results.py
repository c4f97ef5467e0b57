"""results.json."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from src.runtime.results import rounded
from tests.runtime.test_stop_on_signal import Send
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


def test_metrics_are_rounded_and_sorted() -> None:
    assert list(rounded({"b": torch.tensor(1 / 3), "a": torch.tensor(2)}).items()) == [("a", 2.0), ("b", 0.333333)]
