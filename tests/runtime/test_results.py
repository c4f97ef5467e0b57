"""results.json."""

from __future__ import annotations

import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from src.errors import UserError
from src.runtime.results import rounded
from tests.runtime.test_stop_on_signal import send
from tests.toys import CallAt, fit


def test_a_fit_and_its_test_write_their_metrics(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=2, test=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["fit"]["epochs"], results["fit"]["steps"]) == (2, 8)
    assert results["fit"]["best"]["val/acc"] >= results["fit"]["last"]["val/acc"]
    assert results["test"]["checkpoint"] == "best.ckpt"
    assert 0 <= results["test"]["test/acc"] <= 1


def test_the_peak_memory_of_a_gpu_is_printed_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("src.runtime.results._COUNTED", ("cpu",))  # which stands in for a GPU
    monkeypatch.setattr(torch.accelerator, "reset_peak_memory_stats", print)
    monkeypatch.setattr(torch.accelerator, "max_memory_allocated", lambda device: 2_500_000_000)
    fit(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["fit"]["peak_memory"] == 2_500_000_000
    assert "\ncpu\n" in (output := capsys.readouterr().out)  # counted from the start of the fit
    assert "peak memory of cpu 2.50 GB" in output


def test_a_run_stopped_in_its_last_validation_has_results(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, test=True, callbacks=send("on_validation_start", 0, signal.SIGTERM))
    fit(tmp_path, test=True, resume=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["fit"]["steps"] == 4
    assert "val/acc" in results["fit"]["last"]
    assert "test/acc" in results["test"]


def test_metrics_of_an_earlier_validation_are_left_out(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=3, check_val_every_n_epoch=2)
    results = json.loads((tmp_path / "results.json").read_text())["fit"]
    assert results["last"].keys() == {"train/acc", "train/loss"}
    assert results["best"]["epoch"] == 1


def test_the_seconds_of_a_resumed_run_include_those_before(tmp_path: Path) -> None:
    def seconds() -> float:
        return json.loads((tmp_path / "results.json").read_text())["fit"]["seconds"]

    fit(tmp_path, callbacks=CallAt("on_train_batch_start", 0, partial(time.sleep, 0.5)))
    first = seconds()
    fit(tmp_path, resume=True, max_epochs=2)
    assert seconds() >= first >= 0.5


def test_a_damaged_file_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"results\.json is damaged"):
        fit(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_metrics_are_rounded_and_sorted() -> None:
    assert list(rounded({"b": torch.tensor(1 / 3), "a": torch.tensor(2)}).items()) == [("a", 2.0), ("b", 0.333333)]
