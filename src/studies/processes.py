"""Runs commands of this project, a few at a time, each in a process of its own, and passes on signals to them."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from src.runtime import run_directory

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
POLL_SECONDS = 0.1
COMMAND = [sys.executable, str(Path(__file__).parents[1])]  # `python -m src` from any folder


def output_of(run: Path) -> Path:
    """The file of the output of a run."""
    return run.parent / "output" / f"{run.name}.txt"


class Claim:
    """The lock of a run. The process of the run inherits it, so that it is held as long as that process lives, although
    the one that has started it may be killed before. Another process on another machine respects it where the file
    system has locks for all of them."""

    def __init__(self, run: Path) -> None:
        path = output_of(run).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)

    def acquire(self) -> bool:
        """Returns false where another process holds it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self.descriptor)


@dataclass
class Job:
    """A command of `python -m src` that begins a run, or resumes it."""

    run: Path  # its directory
    arguments: list[str]  # of the command
    claim: Claim  # is released when the process ends
    ended: Callable[[int], None]  # is called with its exit code
    about: str = ""  # is added to the line that is printed


def run(jobs: Iterator[Job | None], processes: int) -> None:
    """Runs jobs until there are no more, so many processes at a time. `jobs` is asked for the next one when one is
    free; None means that there may be one later. Exits with 128 plus the number of a signal that was received, when the
    processes have saved what they need to continue."""
    running: dict[int, tuple[subprocess.Popen[bytes], Job]] = {}
    exhausted = False
    with _passing_on(running) as received:
        while running or not exhausted:
            for slot in range(processes):
                if slot in running or exhausted or received:
                    continue
                try:
                    job = next(jobs)
                except StopIteration:
                    exhausted = True
                    continue
                if job is None:
                    break
                running[slot] = _start(job, _environment(slot, processes)), job
            time.sleep(POLL_SECONDS)
            for slot, (process, job) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    job.ended(process.returncode)
            if received and not running:
                print(f"stopped by {signal.Signals(received[0]).name}; the same command continues", file=sys.stderr)
                raise SystemExit(128 + received[0])


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    resumes, path = run_directory.is_resumable(job.run), output_of(job.run)
    if not resumes:  # what it has written before its first checkpoint
        shutil.rmtree(job.run, ignore_errors=True)
    print(f"{job.run.name} {'resumes' if resumes else 'starts'}, with its output in {path}{job.about}", flush=True)
    try:
        with path.open("ab") as output:
            return subprocess.Popen(
                [*COMMAND, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[job.claim.descriptor],
                start_new_session=True,  # Ctrl-C would reach it twice, and the second one ends it without saving
            )
    finally:
        job.claim.close()


@contextmanager
def _passing_on(running: dict[int, tuple[subprocess.Popen[bytes], Job]]) -> Iterator[list[int]]:
    """Passes on signals to the running processes; yields those received."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process, _ in list(running.values()):
            process.send_signal(number)

    previous = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _environment(slot: int, processes: int) -> dict[str, str]:
    """Shares cores and GPUs among the processes that run at a time."""
    environment = dict(os.environ)
    if processes > 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
        if gpus := _gpus():
            own = gpus[slot::processes] or [gpus[slot % len(gpus)]]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return environment


def _gpus() -> list[str]:
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [one for one in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if one]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def last_lines(run: Path) -> str:
    """The end of the output of a run that has ended."""
    lines = [line for line in output_of(run).read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-5:])
