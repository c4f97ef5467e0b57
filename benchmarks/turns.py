"""Measures programs that run in turns. Imports only the standard library, so that a side can run in any Python.

A side is a process that waits for each of its turns and reports how long the turn took. All sides are warm and measured
in the same minutes, which matters more than the number of turns: on a shared machine the speed of a program varies by a
factor of two within an hour, its ratio to another program by a few percent.
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
    """A process that runs in turns, in the program that measures it.

    Args:
        command: a program that calls `Turns.next`, run in the folder of the project.
        environ: environment variables in addition to those of this process.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self.command = command
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process runs
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )

    def turn(self, clock: Clock = "wall") -> float:
        """Lets the process run one turn and returns its seconds: wall clock, or processor time of all its threads,
        which other programs on the machine affect less."""
        assert self.process.stdin and self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the process has ended; its stderr has the reason
        for line in self.process.stdout:
            if line.startswith(_SECONDS):
                wall, processor = map(float, line.removeprefix(_SECONDS).split())
                # Waiting threads can use the processor: next to six waiting processes TensorFlow was 4 times slower.
                self.process.send_signal(signal.SIGSTOP)
                return wall if clock == "wall" else processor
        self.stderr.seek(0)
        message = self.stderr.read()[-2000:]
        self.stop()
        raise RuntimeError(f"{' '.join(self.command)} ended before its turn:\n{message}")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.stderr.close()


class Turns:
    """The same, inside the process."""

    def __init__(self) -> None:
        self._started: tuple[float, float] | None = None

    def next(self) -> None:
        """Ends the current turn, if any, and waits for the next one. Call it before the first turn and after each."""
        if self._started is not None:
            wall, processor = self._started
            print(f"{_SECONDS}{time.perf_counter() - wall} {time.process_time() - processor}", flush=True)
        if not sys.stdin.readline():  # the measuring program has ended
            raise SystemExit
        self._started = (time.perf_counter(), time.process_time())


def measure(sides: Mapping[str, Side], rounds: int, warm_up: int = 1, clock: Clock = "wall") -> dict[str, list[float]]:
    """Seconds of the turns of each side. Every second round is in reverse order."""
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
    """The speed of the first relative to the other: the median over the rounds."""
    return statistics.median(theirs / ours for ours, theirs in zip(seconds, other, strict=True))
