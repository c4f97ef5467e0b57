"""The directory of the run that a process starts, and whether its job has begun that run before.

A job claims a directory by an empty file `.job-<name>@<restarts>` in it. When SLURM starts the job again, or torchrun
its processes, the number of restarts is higher, and the job takes its directory up again; a new job never does.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from src.runtime import rendezvous, run_directory
from src.runtime.job import Job
from src.runtime.run_directory import CLAIM, LOGS

# Inherited by the processes that Lightning starts for the other ranks, so that all use the same directory.
_DIRECTORY, _INTERRUPTED = "RUN_DIRECTORY", "RUN_INTERRUPTED"


@dataclass(frozen=True)
class JobDirectory:
    """The directory of a run, and whether its job has begun that run before it was interrupted."""

    path: Path
    job: Job
    interrupted: bool = False

    @property
    def resumable(self) -> bool:
        """Whether the interrupted run has a checkpoint to resume from."""
        return self.interrupted and run_directory.is_resumable(self.path)

    def claim(self) -> bool:
        """Claims the directory for the job; returns whether no other process of this start has done so."""
        if not self.job.name:
            return True
        try:
            (self.path / "{}{}@{}.{}".format(CLAIM, self.job.name, *self.job.restarts)).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def export_to_children(self) -> None:
        """Sets the variables that the processes started by this one inherit."""
        os.environ[_DIRECTORY], os.environ[_INTERRUPTED] = str(self.path.resolve()), str(int(self.interrupted))


_chosen: dict[str, JobDirectory] = {}  # by this process


def choose(
    recipe: str, given: str | None = None, logs: Path = LOGS, environ: Mapping[str, str] = os.environ
) -> JobDirectory:
    """The directory of a new run, or of the one that this job has begun before it was interrupted. All ranks agree.

    Where the user has given none, it is named after the job, or by the time where nothing restarts the process, with a
    number where that name is taken.
    """
    if directory := inherited(environ):
        return directory
    if given in _chosen:
        return _chosen[given]
    job = Job.of(environ)
    if met := rendezvous.join():
        job = job if job.name else replace(job, name=met.job_name())

        def shared() -> tuple[str, bool]:
            directory = _choose(recipe, given, logs, job)
            return str(directory.path), directory.interrupted

        path, interrupted = met.share(shared)
        directory = JobDirectory(Path(path), job, interrupted)
    else:
        directory = _choose(recipe, given, logs, job)
    return _chosen.setdefault(str(directory.path), directory)


def _choose(recipe: str, given: str | None, logs: Path, job: Job) -> JobDirectory:
    if given:
        path = Path(given).expanduser()
        return _taken_up(path, job) or JobDirectory(path, job)
    name = f"job-{job.name}" if job.name else datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        path = logs / recipe / (f"{name}_{number}" if number > 1 else name)
        if run_directory.create(path):
            directory = JobDirectory(path, job)
            directory.claim()
            return directory
        if directory := _taken_up(path, job):
            return directory
    raise AssertionError


def _taken_up(path: Path, job: Job) -> JobDirectory | None:
    """The directory, if an earlier start of this job, but no other process of this start, has claimed it."""
    if not job.name:
        return None
    pattern = re.compile(rf"{re.escape(CLAIM + job.name)}@(\d+)\.(\d+)")
    found = [match for one in path.glob(f"{CLAIM}*") if (match := pattern.fullmatch(one.name))]
    directory = JobDirectory(path, job, interrupted=True)
    earlier = bool(found) and max((int(match[1]), int(match[2])) for match in found) < job.restarts
    return directory if earlier and directory.claim() else None


def inherited(environ: Mapping[str, str] = os.environ) -> JobDirectory | None:
    """That of the process that started this one as another rank of its run."""
    job = Job.of(environ)
    if job.launcher != "Lightning" or "LOCAL_RANK" not in environ or not (path := environ.get(_DIRECTORY)):
        return None
    return JobDirectory(Path(path), job, interrupted=environ.get(_INTERRUPTED) == "1")
