"""Processes that have to agree, and one that dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.processes import start, wait_for_first_epoch

FOREVER = [
    *TINY,
    "--trainer.max_epochs=10000",
    "--trainer.default_callbacks.checkpoints.every_n_steps=1",
    "--trainer.strategy=ddp",
]


def ranks(process: subprocess.Popen[str]) -> list[int]:
    """The process numbers, when training is under way; the first is rank 0."""
    wait_for_first_epoch(process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    by_rank = {
        int(found[1]): int(child)
        for child in children
        if (found := re.search(r"LOCAL_RANK=(\d+)", Path(f"/proc/{child}/environ").read_text()))
    }
    return [process.pid, *(by_rank[rank] for rank in sorted(by_rank))]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
@pytest.mark.parametrize("processes, victim", [(2, 1), (3, 0)])
def test_a_rank_that_dies_is_named_and_takes_the_others_down(processes: int, victim: int, tmp_path: Path) -> None:
    directory, devices = tmp_path / "run", f"--trainer.devices={processes}"
    process = start(*FOREVER, devices, f"--trainer.default_root_dir={directory}", "--data.batch_size=24")
    numbers = ranks(process)
    os.kill(numbers[victim], signal.SIGKILL)
    killed = time.monotonic()
    output, _ = process.communicate(timeout=60)  # till all have closed their end of the pipe
    assert time.monotonic() - killed < 30
    assert "Traceback" not in output
    said = f"error: rank {victim} (process {numbers[victim]} on " in output and f"fit --resume {directory}" in output
    # Or Lightning, which looks after the processes that it started every 5 seconds, was faster and killed the rest.
    observed = f"[rank: {victim}] Child process with PID {numbers[victim]} terminated" in output
    assert said or observed, output[-3000:]
    assert process.returncode in ((-signal.SIGKILL,) if victim == 0 else (1, -signal.SIGKILL)), output[-3000:]

    once_more = start(*FOREVER, devices, f"--resume={directory}")
    again = ranks(once_more)
    os.kill(again[0], signal.SIGTERM)
    output, _ = once_more.communicate(timeout=60)
    assert once_more.returncode == 143, output[-3000:]


@pytest.mark.slow
def test_ranks_that_are_apart_in_time_stop_together(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    late = "--trainer.callbacks+=tests.toys.LateRank"
    process = start(*FOREVER, "--trainer.devices=2", f"--trainer.default_root_dir={directory}", late)
    slow = ranks(process)[1]
    os.kill(slow, signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 138, output[-3000:]
    assert output.count("stopped by SIGUSR1") == 1
    assert (directory / "checkpoints" / "last.ckpt").is_file()
