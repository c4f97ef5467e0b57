"""The variables of SLURM and torchrun against the trainer's arguments."""

from __future__ import annotations

import pytest

from src.cli.doctor import scheduler
from src.cli.doctor.finding import check


def slurm(**variables: str) -> dict[str, str]:
    """The variables of a task, two on each of two nodes."""
    usual = {"NTASKS": "4", "NTASKS_PER_NODE": "2", "NNODES": "2", "JOB_NAME": "train", "STEP_ID": "0", "PROCID": "0"}
    return {f"SLURM_{name}": value for name, value in {**usual, **variables}.items() if value}


ONE_TASK = {"NTASKS": "1", "NTASKS_PER_NODE": "", "NNODES": "1"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "line"),
    [
        ({}, 2, 1, "ok    processes: Lightning starts them"),
        ({}, 2, 2, "FAIL  processes: trainer.num_nodes is 2, but neither SLURM nor torchrun started this process"),
        ({"LOCAL_RANK": "0"}, 2, 1, "note  processes: Lightning starts none, since LOCAL_RANK is set"),
        (slurm(), 2, 2, "ok    processes: SLURM starts 4 on 2 nodes"),
        (slurm(), None, 1, "ok    processes: SLURM starts 4 on 2 nodes"),
        (slurm(), 1, 2, "FAIL  processes: SLURM starts 4 on 2 nodes, and the trainer expects 2 on 2; set trainer.dev"),
        (slurm(), 4, 1, "FAIL  processes: SLURM starts 4 on 2 nodes, and the trainer expects 4 on 1"),
        (slurm(STEP_ID=""), 2, 2, "note  processes: SLURM starts 4 on 2 nodes; srun did not start this process"),
        (slurm(STEP_ID="", PROCID=""), 2, 2, "FAIL  processes: SLURM starts 4 on 2 nodes; srun did not start this"),
        (
            slurm(NTASKS_PER_NODE=""),
            2,
            2,
            "FAIL  processes: Lightning does not accept --ntasks 4 alone; use --nodes 2 ",
        ),
        (slurm(JOB_NAME="interactive"), 2, 2, "FAIL  processes: Lightning ignores the 4 tasks of a job with this name"),
        (slurm(JOB_NAME="bash", **ONE_TASK), 2, 1, "ok    processes: Lightning starts them"),
        (slurm(STEP_ID="", **ONE_TASK), 1, 1, "ok    processes: SLURM starts 1 on 1 node"),
        (TORCHRUN, 2, 2, "ok    processes: torchrun starts 4 on 2 nodes"),
        (TORCHRUN, 4, 1, "FAIL  processes: torchrun starts 4 on 2 nodes, and the trainer expects 4 on 1"),
        ({**slurm(), **TORCHRUN}, 2, 2, "ok    processes: torchrun starts 4 on 2 nodes"),
    ],
)
def test_processes(environ: dict[str, str], devices: int | None, nodes: int, line: str) -> None:
    assert str(check("processes", scheduler.processes, environ, devices, nodes)).startswith(line)
