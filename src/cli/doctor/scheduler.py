"""Check of the processes that SLURM, torchrun or Lightning starts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from src.cli.doctor.finding import Note
from src.runtime.job import Job, check_visible_gpus


def processes(
    devices: object, num_nodes: int | None, accelerator: object = "auto", environ: Mapping[str, str] = os.environ
) -> str:
    """Compares the processes that are started with those that the trainer expects."""
    job = Job.of(environ)
    job.trainer_devices(devices, num_nodes, environ)
    check_visible_gpus(job, accelerator)
    if job.launcher != "Lightning":
        return f"{job.started}, as the trainer expects"
    if "LOCAL_RANK" in environ:
        return Note("Lightning starts none, since LOCAL_RANK is set; unset it if nothing else starts them")
    return "Lightning starts them"
