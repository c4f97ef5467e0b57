"""Fits in separate processes."""

from __future__ import annotations

import os
import subprocess
import sys

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
