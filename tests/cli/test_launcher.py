"""The schedulers' variables, right and wrong."""

from __future__ import annotations

import pytest

from src.cli import launcher


def slurm(**variables: str) -> dict[str, str]:
    """What a task of two on each of two nodes sees."""
    usual = {"NTASKS": "4", "NTASKS_PER_NODE": "2", "NNODES": "2", "JOB_NAME": "train", "STEP_ID": "0", "PROCID": "0"}
    return {f"SLURM_{name}": value for name, value in {**usual, **variables}.items() if value}


ELASTIC = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "0", "RANK": "0"}


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "begins"),
    [
        ({}, 2, 1, "ok    processes: no scheduler"),
        ({}, 2, 2, "FAIL  processes: trainer.num_nodes is 2, but neither SLURM nor torchrun started this"),
        ({"LOCAL_RANK": "0"}, 2, 1, "note  processes: LOCAL_RANK 0 is set: Lightning will start no process"),
        (slurm(), 2, 2, "ok    processes: SLURM starts 2 on 2 nodes"),
        (slurm(), None, None, "ok    processes: SLURM starts 2 on 2 nodes: trainer.devices 2, trainer.num_nodes 2"),
        (
            slurm(),
            1,
            2,
            "FAIL  processes: SLURM starts 2 on 2 nodes, and the trainer expects 1 on 2; set trainer.devices",
        ),
        (slurm(), 2, 1, "FAIL  processes: SLURM starts 2 on 2 nodes, and the trainer expects 2 on 1"),
        (slurm(STEP_ID=""), 2, 2, "note  processes: SLURM starts 2 on 2 nodes; srun did not start this"),
        (slurm(STEP_ID="", PROCID=""), 2, 2, "FAIL  processes: SLURM starts 2 on 2 nodes; srun did not start this"),
        (slurm(NTASKS_PER_NODE=""), 2, 2, "FAIL  processes: Lightning refuses --ntasks 4 alone; use --nodes 2 --nt"),
        (slurm(NTASKS="3"), 2, 2, "FAIL  processes: SLURM starts 3 tasks, not --nodes 2 x --ntasks-per-node 2"),
        (slurm(JOB_NAME="interactive"), 2, 2, "FAIL  processes: in a job called interactive, Lightning does not see"),
        (slurm(JOB_NAME="bash", NTASKS="1", NNODES="1"), 2, 1, "ok    processes: no scheduler"),
        (
            slurm(NTASKS="1", NTASKS_PER_NODE="", NNODES="1", STEP_ID=""),
            1,
            1,
            "ok    processes: SLURM starts 1 on 1 node",
        ),
        (ELASTIC, 2, 2, "ok    processes: torchrun starts 2 on 2 nodes"),
        (ELASTIC, 4, 1, "FAIL  processes: torchrun starts 2 on 2 nodes, and the trainer expects 4 on 1"),
        ({**slurm(), **ELASTIC}, 2, 2, "ok    processes: torchrun starts 2 on 2 nodes"),
    ],
)
def test_processes(environ: dict[str, str], devices: int | None, nodes: int | None, begins: str) -> None:
    assert str(launcher.processes(environ, devices, nodes)).startswith(begins)


@pytest.mark.parametrize(
    ("processes", "each", "on_cpu", "ends"),
    [
        (2, 4, True, "2 x 4 on 8 cores"),
        (4, 8, False, "they wait for each other; set OMP_NUM_THREADS=2"),
        (9, 1, True, "set OMP_NUM_THREADS=1 and fewer processes"),
        (1, 1, True, "the rest stays idle; set OMP_NUM_THREADS=8"),
        (1, 1, False, "1 x 1 on 8 cores"),
        (2, 2, True, "2 x 2 on 8 cores"),
    ],
)
def test_threads(processes: int, each: int, on_cpu: bool, ends: str) -> None:
    finding = launcher.threads(processes, each, cores=8, on_cpu=on_cpu)
    assert finding.text.endswith(ends)
    assert (finding.level == "ok") == ("OMP" not in ends)
