"""What a process asks SLURM about its job, and how the job starts again. Imports nothing heavy, since `early_signals`
needs it from the first moment of the process."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import datetime


def in_job() -> bool:
    """Whether this process is in a job of SLURM's."""
    return "SLURM_JOB_ID" in os.environ


def requeue(number: int, planned: bool) -> str:
    """Starts the job of this process, which a signal stops, again, if SLURM has preempted it or its time limit is near.
    Called in one process. Returns what happens next, a sentence for the log; empty outside of SLURM.

    `planned` is whether it is the signal by which the batch script asks for a restart, or the time limit is near, and
    there is progress since the start, without which the job would start again forever.
    """
    if not in_job() or number == signal.SIGINT:
        return ""
    try:
        job = show_job()
        if job.get("JobState") != "RUNNING":
            return f"the job is {job.get('JobState', 'ending')} and does not start again"
        if not planned and job.get("PreemptTime", "None") == "None":
            return "neither preemption nor the time limit ends the job, so it does not start again by itself"
        if job.get("Requeue") != "1":
            return "the job does not start again, as it was submitted without --requeue"
        _scontrol("requeue", _job_id())
    except FileNotFoundError:
        return (
            f"scontrol is not installed here, as in a container: the job starts again if the cluster requeues the exit "
            f"code {128 + number} (RequeueExit), or the batch script outside of the container calls scontrol requeue"
        )
    except (subprocess.SubprocessError, OSError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        return f"the job does not start again: scontrol fails: {reason}"
    return "the job is requeued and resumes this run by itself"


def time_limit() -> datetime | None:
    """When SLURM ends the job of this process; None if it does not, or does not say."""
    if not in_job():
        return None
    if end := os.environ.get("SLURM_JOB_END_TIME"):  # since SLURM 23.02
        return datetime.fromtimestamp(int(end))
    try:
        return datetime.fromisoformat(show_job().get("EndTime", ""))
    except (ValueError, OSError, subprocess.SubprocessError):  # "Unknown"; no scontrol; it fails
        return None


def show_job() -> dict[str, str]:
    """The entries of `scontrol show job`."""
    words = _scontrol("show", "job", "--oneliner", _job_id()).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def _job_id() -> str:
    if task := os.environ.get("SLURM_ARRAY_TASK_ID"):  # the id of the job alone may mean the whole array
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}"
    return os.environ["SLURM_JOB_ID"]


def _scontrol(*arguments: str) -> str:
    command = ["scontrol", *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=20).stdout
