"""What a process asks SLURM. tests/cluster asks a real one; here a script takes the place of scontrol."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from src.runtime import early_signals, slurm
from tests.conftest import ROOT

RUNNING = "JobId=17 JobState=RUNNING Requeue=1 PreemptTime=None EndTime=2026-11-27T12:30:00"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the calls of a scontrol that prints `answer` in the folder of the file."""
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ntest "$1" = requeue || cat {tmp_path}/answer\n')
    script.chmod(0o755)
    (tmp_path / "answer").write_text(RUNNING)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    return tmp_path / "asked"


def requeued(asked: Path) -> list[str]:
    return [line for line in asked.read_text().splitlines() if line.startswith("requeue")] if asked.exists() else []


@pytest.mark.parametrize(
    ("answer", "number", "planned", "text"),
    [
        (RUNNING, signal.SIGUSR1, True, "the job is requeued and resumes this run by itself"),
        (RUNNING, signal.SIGTERM, False, "neither preemption nor the time limit"),
        (RUNNING.replace("PreemptTime=None", "PreemptTime=2026-11-27T12:00:00"), signal.SIGTERM, False, "is requeued"),
        (RUNNING.replace("RUNNING", "COMPLETING"), signal.SIGUSR1, True, "the job is COMPLETING and does not"),
        (RUNNING.replace("Requeue=1", "Requeue=0"), signal.SIGUSR1, True, "submitted without --requeue"),
        (RUNNING, signal.SIGINT, True, ""),
    ],
)
def test_a_job_is_requeued_where_it_is_preempted_or_its_limit_is_near(
    answer: str, number: int, planned: bool, text: str, asked: Path
) -> None:
    (asked.parent / "answer").write_text(answer)
    said = slurm.requeue(number, planned)
    assert text in said and bool(said) == bool(text)
    assert requeued(asked) == (["requeue 17"] if "is requeued" in text else [])


def test_a_task_of_an_array_is_requeued_without_the_others(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    slurm.requeue(signal.SIGUSR1, planned=True)
    assert requeued(asked) == ["requeue 17_0"]


def test_without_scontrol_the_exit_code_is_the_way_out(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "RequeueExit" in slurm.requeue(signal.SIGUSR1, planned=True)
    assert "exit code 138" in slurm.requeue(signal.SIGUSR1, planned=True)
    assert slurm.time_limit() is None


def test_a_scontrol_that_fails_is_quoted(asked: Path) -> None:
    (asked.parent / "scontrol").write_text("#!/bin/sh\necho not permitted >&2\nexit 1\n")
    assert "scontrol fails: not permitted" in slurm.requeue(signal.SIGUSR1, planned=True)
    assert slurm.time_limit() is None


def test_the_time_limit(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm.time_limit() == datetime(2026, 11, 27, 12, 30)
    (asked.parent / "answer").write_text("JobState=RUNNING EndTime=Unknown")
    assert slurm.time_limit() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1800000000")
    assert slurm.time_limit() == datetime.fromtimestamp(1_800_000_000)


def test_outside_of_slurm_nothing_is_asked(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert slurm.requeue(signal.SIGUSR1, planned=True) == ""
    assert slurm.time_limit() is None
    assert not asked.exists()


EARLY = """
import signal, sys
from src.runtime import early_signals
early_signals.install()
signal.raise_signal(signal.SIGUSR1)
print(early_signals.take([signal.SIGUSR1, signal.SIGTERM]), early_signals.take([signal.SIGUSR1]), flush=True)
print("torch" in sys.modules, flush=True)
if "ignore" in sys.argv:
    early_signals.ignore()
    signal.raise_signal(signal.SIGTERM)
    sys.exit(7)
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_a_signal_before_training(asked: Path, rank: str, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked.parent / "answer").write_text(RUNNING.replace("PreemptTime=None", "PreemptTime=2026-11-27T12:00:00"))
    monkeypatch.setenv("SLURM_PROCID", rank)
    done = subprocess.run([sys.executable, "-c", EARLY], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 143
    assert done.stdout.split() == [str(int(signal.SIGUSR1)), "0", "False"]
    assert done.stderr.count("stopped by SIGTERM before training; the job is requeued") == lines
    assert requeued(asked) == ["requeue 17"] * lines


def test_a_process_that_is_ending_is_left_to_end(asked: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY, "ignore"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")


def test_outside_of_slurm_the_handlers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    early_signals.install()
    assert signal.getsignal(signal.SIGTERM) == before
