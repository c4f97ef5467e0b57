"""Programs that are measured side by side by taking turns. Needs the standard library alone, so that a side may run
in any Python.

A side is a process that waits before each of its turns for a signal, and reports how long the turn took. So
all sides are warm and measured in the same minutes, which matters more than the number of turns: on a machine that
others use as well, a program's speed changes by a factor of two within an hour, its ratio to another by a few per cent.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
Clock = Literal["wall", "processor"]
_SECONDS = "seconds of this turn: "


class Side:
    """A process that takes turns, seen from the one that measures."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """
        Args:
            command: what is run, in the project's folder; it calls `turns`.
            environ: variables to set in addition to those of this process.
        """
        self.command = command
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lasts as long as the process
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
        )

    def turn(self, clock: Clock = "wall") -> float:
        """Lets the process take one turn and returns its seconds, by the clock on the wall or those that processors
        worked for it, which other programs on the machine disturb less."""
        assert self.process.stdin and self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; what it said tells why
        for line in self.process.stdout:
            if line.startswith(_SECONDS):
                wall, processor = map(float, line.removeprefix(_SECONDS).split())
                # Waiting threads may work: next to six others that waited, TensorFlow took four times as long.
                self.process.send_signal(signal.SIGSTOP)
                return wall if clock == "wall" else processor
        self.complaints.seek(0)
        complaints = self.complaints.read()[-2000:]
        self.stop()
        raise RuntimeError(f"{' '.join(self.command)} ended before its turn:\n{complaints}")

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        self.complaints.close()


class Turns:
    """The same, seen from the process. `next` ends a turn, if one is under way, and waits for the following one."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def next(self) -> None:
        """Between two turns; to be called before the first and after the last as well."""
        if self._began is not None:
            wall, processor = self._began
            print(f"{_SECONDS}{time.perf_counter() - wall} {time.process_time() - processor}", flush=True)
        if not sys.stdin.readline():  # whoever measures is gone
            raise SystemExit
        self._began = (time.perf_counter(), time.process_time())


def measure(sides: Mapping[str, Side], rounds: int, warm_up: int = 1, clock: Clock = "wall") -> dict[str, list[float]]:
    """The seconds of each side's turns. In every second round the order is the other way round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    try:
        for number in range(-warm_up, rounds):
            for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
                took = sides[name].turn(clock)
                if number >= 0:
                    seconds[name].append(took)
    finally:
        for side in sides.values():
            side.stop()
    return seconds


def ratio(seconds: Sequence[float], other: Sequence[float]) -> float:
    """How many times as fast the first is as the other: the median over the rounds."""
    return statistics.median(theirs / ours for ours, theirs in zip(seconds, other, strict=True))
