"""The line of the doctor about the processes of a job; tests/runtime/test_job.py tests the mistakes."""

from __future__ import annotations

import pytest

from src.cli.doctor import scheduler
from src.cli.doctor.finding import check
from tests.runtime.test_job import ALONE, BATCH, TORCHRUN, slurm


@pytest.mark.parametrize(
    ("environ", "devices", "line"),
    [
        ({}, 2, "ok    processes: Lightning starts them"),
        (ALONE, 2, "ok    processes: Lightning starts them"),
        ({"LOCAL_RANK": "0"}, 2, "note  processes: Lightning starts none, since LOCAL_RANK is set"),
        (slurm(), "auto", "ok    processes: SLURM starts 4 processes on 2 nodes"),
        (TORCHRUN, 2, "ok    processes: torchrun starts 4 processes on 2 nodes"),
        (slurm(), 1, "FAIL  processes: SLURM starts 4 processes on 2 nodes, and trainer.devices 1"),
        (BATCH, "auto", "FAIL  processes: the job has 4 tasks on 2 nodes, and srun did not start this process"),
    ],
)
def test_processes(environ: dict[str, str], devices: object, line: str) -> None:
    assert str(check("processes", scheduler.processes, devices, None, "auto", environ)).startswith(line)
