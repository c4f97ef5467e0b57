"""What is read from the files of a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime import run_directory
from src.studies.run_record import read
from tests.runtime.test_stop_on_signal import send
from tests.studies.runs import finished, model, write_run
from tests.toys import CallAt, Interrupted, fit


def test_metrics_are_those_of_the_best_weights_and_of_the_test(tmp_path: Path) -> None:
    record = read(write_run(tmp_path, "a/1", model("Wide"), finished(0.75), "2026-02-03"))
    assert (record.name, record.state, record.started) == ("a/1", "finished", "2026-02-03")
    assert (record.epochs, record.seconds) == (2, 3.5)
    assert record.metrics == {"val/acc": 0.75, "val/loss": 2.0, "test/acc": 0.75}
    assert record.config == {"model.net": "src.models.Wide"}
    assert record.damaged == []


def test_a_later_test_of_the_same_configuration_counts(tmp_path: Path) -> None:
    evaluations = [{"differs": [], "test/acc": 0.5}, {"differs": ["data.val_fraction was 0, is 1"], "test/acc": 0.9}]
    directory = write_run(tmp_path, "a/1", {}, {"fit": {"last": {}}, "evaluations": evaluations})
    assert read(directory).metrics == {"test/acc": 0.5}


@pytest.mark.parametrize("name", ["config.yaml", "manifest.json", "results.json"])
@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_file_hides_nothing_else(name: str, content: bytes, tmp_path: Path) -> None:
    directory = write_run(tmp_path, "a/1", model("Wide"), finished(0.75), "2026-02-03")
    (directory / name).write_bytes(content)
    record = read(directory)
    assert [line.split(" ")[0] for line in record.damaged] == [str(directory / name)]
    known = {"config.yaml": bool(record.config), "manifest.json": bool(record.started)}
    known["results.json"] = bool(record.metrics)
    assert known == {one: one != name for one in known}


def test_a_run_of_an_earlier_version_without_a_state_is_finished_if_it_has_results(tmp_path: Path) -> None:
    assert read(write_run(tmp_path, "a/1", {}, {"fit": {"epochs": 1}})).state == "finished"
    assert read(write_run(tmp_path, "a/2", {})).state == "died"


def test_the_states_of_a_run(tmp_path: Path) -> None:
    states = []
    look = CallAt("on_validation_start", 1, lambda: states.append(read(tmp_path).state))
    stop = send("on_train_batch_end", 6, signal.SIGTERM)  # the third step of the second epoch
    with pytest.raises(SystemExit):
        fit(tmp_path, max_epochs=3, callbacks=stop)
    assert (record := read(tmp_path)).state == "stopped"
    assert record.epochs == 1 and "val/acc" in record.metrics
    with run_directory.held(tmp_path):
        assert read(tmp_path).state == "running"
    with pytest.raises(Interrupted):
        fit(tmp_path, max_epochs=3, resume=True, callbacks=CallAt("on_train_batch_end", 0))
    assert read(tmp_path).state == "died"
    fit(tmp_path, max_epochs=3, resume=True, callbacks=look)
    assert states == ["running"]
    assert (record := read(tmp_path)).state == "finished"
    assert record.epochs == 3


def test_the_lock_of_a_process_that_was_killed_does_not_count(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys; from src.runtime import run_directory\n"
        "with run_directory.held(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -signal.SIGKILL
    assert (tmp_path / ".lock").exists()
    (tmp_path / "results.json").write_text(json.dumps({"fit": {"state": "running"}}))
    assert read(tmp_path).state == "died"
