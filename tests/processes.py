"""Fits in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT


def start(*arguments: str) -> subprocess.Popen[str]:
    """A fit, of which all output comes in one pipe."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "src", "fit", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that a kill can reach the processes of all ranks
    )


def wait_for_first_epoch(process: subprocess.Popen[str]) -> None:
    """Reads the output so far."""
    assert process.stdout
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("epoch "):
            return
    raise AssertionError("".join(seen)[-3000:])


def finish(*arguments: str) -> str:
    """The output of a fit that ends well."""
    process = start(*arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output
