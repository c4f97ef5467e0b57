"""Stopping on a signal: the checkpoint that is saved, and the resumed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from tests.conftest import ROOT
from tests.toys import Squares, classifier, trainer


class Send(Callback):
    """Sends this process a signal at a hook, the nth time that it is called."""

    def __init__(self, hook: str, time: int, number: int) -> None:
        calls = iter(range(time + 1))

        def send(*args: Any, **kwargs: Any) -> None:
            if next(calls, None) == time:
                os.kill(os.getpid(), number)

        setattr(self, hook, send)


def fit(directory: Path, *callbacks: Callback, resume: bool = False) -> None:
    (directory / "config.yaml").touch()
    fitted = trainer(directory, max_epochs=2, callbacks=list(callbacks))
    fitted.fit(classifier(), datamodule=Squares(), resume=str(directory) if resume else None, test_after_fit=False)


def last(directory: Path) -> dict[str, Any]:
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)], ids=lambda value: str(value)
)
@pytest.mark.parametrize(
    "hook, time, step",
    [
        ("on_train_batch_start", 1, 2),  # the step is finished
        ("on_train_batch_start", 3, 4),  # the epoch too, if it was its last
        ("on_validation_start", 0, 4),
        ("on_train_batch_start", 5, 6),
        ("on_train_batch_start", 7, 8),
    ],
)
def test_the_step_is_finished_and_saved_and_the_run_goes_on(
    number: int, code: int, hook: str, time: int, step: int, tmp_path: Path
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    fit(whole)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        fit(parts, Send(hook, time, number))
    assert stop.value.code == code
    assert last(parts)["global_step"] == step
    assert signal.getsignal(number) == before
    fit(parts, resume=True)
    torch.testing.assert_close(last(parts)["state_dict"], last(whole)["state_dict"], rtol=0, atol=0)


def test_a_validation_within_an_epoch_is_finished(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    fitted = trainer(tmp_path, max_epochs=2, val_check_interval=2, callbacks=Send("on_train_batch_start", 1, 10))
    with pytest.raises(SystemExit) as stop:
        fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False)
    assert stop.value.code == 138
    saved = last(tmp_path)
    assert saved["global_step"] == 2  # of four in the epoch
    assert torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == 2


def test_what_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, Send("on_train_batch_start", 1, signal.SIGTERM))
    text = capsys.readouterr().err
    assert "stopped by SIGTERM at epoch 0, step 2" in text
    assert f"fit --resume {tmp_path}" in text


def test_after_training_the_handlers_are_lightnings_and_pythons_again(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    fit(tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


WAITING = """
import sys, time
from pathlib import Path
from tests.runtime.test_stop_on_signal import *

class Wait(Callback):
    def on_train_batch_start(self, *args, **kwargs):
        print("waiting", flush=True)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.1)

fit(Path(sys.argv[1]), Wait())
"""


@pytest.mark.slow
def test_a_second_interrupt_does_not_wait_for_the_step(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WAITING, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line == "waiting\n" for line in process.stdout)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == -signal.SIGINT
