"""Fits in separate processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def start(*arguments: str) -> subprocess.Popen[str]:
    """Starts a fit with stdout and stderr in one pipe."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "src", "fit", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that os.killpg reaches the processes of all ranks
    )


def wait_for_first_epoch(process: subprocess.Popen[str]) -> None:
    """Reads the output of a fit up to the line of its first epoch."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch "):
            return
    raise AssertionError("".join(lines)[-3000:])


def finish(*arguments: str) -> str:
    """Runs a fit that must succeed; returns its output."""
    process = start(*arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output


def process_ids(process: subprocess.Popen[str]) -> list[int]:
    """Waits for the first epoch of a fit that Lightning launches, and returns the process id of each rank. Needs
    /proc."""
    wait_for_first_epoch(process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    by_rank = {
        int(found[1]): int(child)
        for child in children
        if (found := re.search(r"LOCAL_RANK=(\d+)", Path(f"/proc/{child}/environ").read_text()))
    }
    return [process.pid, *(by_rank[rank] for rank in sorted(by_rank))]
