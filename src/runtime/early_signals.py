"""Signals of SLURM before training, when there is nothing to save, and after it.
Imports nothing heavy: torch alone takes seconds to import."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection
from types import FrameType

from src.runtime import slurm

_received: list[int] = []
_ending = False


def install() -> None:
    """In a job of SLURM's, ends the process at SIGTERM, and remembers SIGUSR1 and SIGUSR2, which would end it at once:
    `StopOnSignal` knows which of them means a stop."""
    if slurm.in_job():
        signal.signal(signal.SIGTERM, _end)
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, _remember)


def take(numbers: Collection[int]) -> int:
    """One of the signals that has been received so far, or 0."""
    found = next((number for number in _received if number in numbers), 0)
    _received.clear()
    return found


def ignore() -> None:
    """Leaves the process, which is ending, to end."""
    global _ending
    _ending = True


def _remember(number: int, frame: FrameType | None) -> None:
    _received.append(number)


def _end(number: int, frame: FrameType | None) -> None:
    if _ending:
        return
    first = all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))
    if first and (os.environ.get("SLURM_PROCID", "0") == "0" or "RANK" in os.environ):
        print(
            f"stopped by SIGTERM before training; {slurm.requeue(number, planned=False)}", file=sys.stderr, flush=True
        )
    sys.exit(128 + number)
