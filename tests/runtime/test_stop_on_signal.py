"""Stopping on a signal: the checkpoint that is saved, the exit code, and the resumed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import torch

from src.runtime import early_signals, slurm
from src.runtime.checkpoint_file import read
from src.runtime.stop_on_signal import StopOnSignal
from tests.conftest import ROOT, TINY
from tests.processes import finish, process_ids, start
from tests.toys import CallAt, fit, last_checkpoint


def send(hook: str, nth: int, number: int) -> CallAt:
    """Sends this process a signal when Lightning calls the hook for the nth time, counted from 0."""
    return CallAt(hook, nth, partial(signal.raise_signal, number))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fit(directory := tmp_path_factory.mktemp("undisturbed"), max_epochs=2)
    return directory


@pytest.mark.parametrize(
    "number, code, hook, nth, step",
    [
        (signal.SIGINT, 130, "on_train_batch_start", 1, 2),  # the step is finished
        (signal.SIGUSR1, 138, "on_train_batch_start", 1, 2),
        (signal.SIGTERM, 143, "on_train_batch_start", 3, 4),  # and the epoch, if it was its last step
        (signal.SIGTERM, 143, "on_validation_start", 0, 4),
        (signal.SIGTERM, 143, "on_train_batch_start", 5, 6),
        (signal.SIGTERM, 143, "on_train_batch_start", 7, 8),
    ],
)
def test_a_stopped_run_has_finished_its_step_and_resumes_exactly(
    number: int, code: int, hook: str, nth: int, step: int, undisturbed: Path, tmp_path: Path
) -> None:
    stopped, before = tmp_path / "stopped", signal.getsignal(number)
    with pytest.raises(SystemExit) as raised:
        fit(stopped, max_epochs=2, callbacks=send(hook, nth, number))
    assert raised.value.code == code
    assert last_checkpoint(stopped)["global_step"] == step
    assert signal.getsignal(number) == before
    fit(stopped, max_epochs=2, resume=True)
    weights, expected = (last_checkpoint(directory)["state_dict"] for directory in (stopped, undisturbed))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)


def test_a_validation_within_an_epoch_is_finished(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as raised:
        fit(tmp_path, max_epochs=2, val_check_interval=2, callbacks=send("on_train_batch_start", 1, signal.SIGUSR1))
    assert raised.value.code == 138
    assert last_checkpoint(tmp_path)["global_step"] == 2  # of four in the epoch
    assert read(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 2


def test_accumulated_batches_are_finished(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, accumulate_grad_batches=2, callbacks=send("on_train_batch_start", 0, signal.SIGTERM))
    assert last_checkpoint(tmp_path)["global_step"] == 1  # after two batches


def test_training_restores_the_signal_handlers(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    fit(tmp_path)
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(("number", "name"), [(signal.SIGUSR2, "SIGUSR2"), (signal.SIGTERM, "SIGUSR2")])
def test_the_signal_can_be_chosen(number: signal.Signals, name: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path, callbacks=[send("on_train_batch_start", 1, number), StopOnSignal(signal=name)])
    assert stop.value.code == 128 + number
    assert last_checkpoint(tmp_path)["global_step"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"signal": "USR1"}, "signal USR1 does not exist"), ({"seconds_before_limit": -1}, "must not be negative")],
)
def test_an_argument_that_is_wrong_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StopOnSignal(**arguments)


def test_a_second_sigterm_does_not_end_the_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SLURM sends it twice at the same moment."""
    twice = [send("on_train_batch_start", 1, signal.SIGTERM), send("on_before_optimizer_step", 1, signal.SIGTERM)]
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path, callbacks=twice)
    assert stop.value.code == 143
    assert last_checkpoint(tmp_path)["global_step"] == 2
    text = capsys.readouterr().err
    assert "stopped by SIGTERM at epoch 0, step 2" in text and f"fit --resume {tmp_path}" in text


def test_training_stops_before_the_time_limit_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(slurm, "time_limit", lambda: datetime.now() + timedelta(seconds=1000))
    fit(tmp_path / "complete", callbacks=StopOnSignal(seconds_before_limit=200))
    assert "training stops 200 s and the longest step or validation before that" in capsys.readouterr().out
    # With less time left than it should stop before the end, it trains for most of that.
    fit(tmp_path / "short", callbacks=StopOnSignal(seconds_before_limit=2000))
    assert "training stops 250 s and" in capsys.readouterr().out
    monkeypatch.setattr(slurm, "time_limit", lambda: datetime.now() + timedelta(seconds=8))
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path / "stopped", callbacks=CallAt("on_train_batch_start", 1, partial(time.sleep, 3)))
    assert stop.value.code == 138
    assert last_checkpoint(tmp_path / "stopped")["global_step"] == 2  # 3 s before the end another such step may not fit
    assert "(the longest step or validation took 3." in capsys.readouterr().err


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_train_batch_start"])
def test_a_signal_before_the_first_step_stops_after_it(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job without progress would start again forever, and so it would not start again."""
    asked = []
    monkeypatch.setattr(slurm, "requeue", lambda number, planned: asked.append(planned) or "")
    with pytest.raises(SystemExit):
        fit(tmp_path, callbacks=[send(hook, 0, signal.SIGUSR1)])
    assert asked == [True]
    assert last_checkpoint(tmp_path)["global_step"] == 1


def test_a_signal_before_training_stops_its_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_signals, "_received", [signal.SIGUSR2, signal.SIGUSR1])
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path)
    assert stop.value.code == 138
    assert early_signals._received == []


def test_a_signal_during_the_test_after_training_stops_it(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(tmp_path, test=True, callbacks=send("on_test_batch_start", 0, signal.SIGUSR1))
    assert stop.value.code == 138
    assert "test" not in json.loads((tmp_path / "results.json").read_text())


LONG_STEP = """
import sys, time
from tests.runtime.test_stop_on_signal import *

def wait():
    print("waiting", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.1)

fit(Path(sys.argv[1]), callbacks=CallAt("on_train_batch_start", 0, wait))
"""


@pytest.mark.slow
def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", LONG_STEP, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line == "waiting\n" for line in process.stdout)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == -signal.SIGINT


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
@pytest.mark.parametrize("rank, number, code", [(0, signal.SIGTERM, 143), (1, signal.SIGUSR1, 138)])
def test_a_signal_to_one_rank_stops_all(rank: int, number: int, code: int, tmp_path: Path) -> None:
    """Also where ranks are apart in time."""
    process = start(
        *(*TINY, "--trainer.max_epochs=3", "--trainer.devices=2", "--trainer.strategy=ddp"),
        *("--trainer.callbacks+=tests.toys.LateRank", f"--trainer.default_root_dir={tmp_path}"),
    )
    os.kill(process_ids(process)[rank], number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output[-3000:]
    assert output.count(f"stopped by {signal.Signals(number).name}") == 1
    if rank == 1:
        assert "resumes from" in finish(f"--resume={tmp_path}")
