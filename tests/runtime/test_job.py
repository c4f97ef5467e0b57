"""What SLURM and torchrun have started, against the trainer's arguments."""

from __future__ import annotations

import pytest

from src.errors import UserError
from src.runtime import job
from src.runtime.job import Job, check_visible_gpus
from src.runtime.trainer import Trainer


def slurm(**variables: str) -> dict[str, str]:
    """The variables that srun sets in the last of four tasks, two on each of two nodes."""
    usual = {
        **{"JOB_ID": "17", "NTASKS": "4", "NNODES": "2", "PROCID": "3", "LOCALID": "1", "NODEID": "1", "STEP_ID": "0"},
        **{"STEP_NUM_TASKS": "4", "STEP_TASKS_PER_NODE": "2(x2)", "JOB_NAME": "train"},
    }
    return {f"SLURM_{name}": value for name, value in {**usual, **variables}.items() if value}


BATCH = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_PROCID": "0"}  # of a batch script
ALONE = slurm(NTASKS="1", NNODES="1", PROCID="0", STEP_NUM_TASKS="1", STEP_TASKS_PER_NODE="1", JOB_NAME="bash")
TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "r", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
    **{"RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0"},
}


def test_a_task_of_srun() -> None:
    found = Job.of(slurm(RESTART_COUNT="2"))
    assert found == Job("SLURM", "17", 3, 1, 1, (2, 2), (2, 0))
    assert found.world_size == 4
    assert Job.of(slurm(STEP_TASKS_PER_NODE="2(x3),1")).tasks_per_node == (2, 2, 2, 1)


def test_where_rank_is_set_it_alone_decides() -> None:
    found = Job.of({**slurm(PROCID="0"), **TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert found == Job("torchrun", "r", 1, 1, 0, (2, 2), (0, 1))


@pytest.mark.parametrize("environ", [{}, ALONE, BATCH])
def test_what_lightning_starts_itself(environ: dict[str, str]) -> None:
    assert Job.of(environ).launcher == "Lightning"
    assert Job.of(environ).rank == 0
    assert Job.of({**environ, "LOCAL_RANK": "1"}).rank == 1


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "expected"),
    [
        ({}, "auto", None, ("auto", 1)),
        ({}, 2, 1, (2, 1)),
        (slurm(), "auto", None, (2, 2)),
        (slurm(), -1, 2, (2, 2)),
        (slurm(), "0,1", None, ("0,1", 2)),
        (slurm(JOB_NAME="interactive"), 2, 2, (2, 2)),
        (TORCHRUN, "auto", None, (2, 2)),
        (ALONE, 2, None, (2, 1)),
        (BATCH, 1, None, (1, 1)),
    ],
)
def test_the_job_decides_what_is_not_given(
    environ: dict[str, str], devices: object, nodes: int | None, expected: object
) -> None:
    assert Job.of(environ).trainer_devices(devices, nodes, environ) == expected


@pytest.mark.parametrize(
    ("environ", "devices", "nodes", "message"),
    [
        ({}, 2, 2, "num_nodes is 2, but neither SLURM nor torchrun"),
        (
            slurm(),
            1,
            None,
            "on 2 nodes, and trainer.devices 1 and trainer.num_nodes 2 expect 2 on 2",
        ),
        (slurm(), "auto", 1, "expect 2 on 1; leave both out"),
        (TORCHRUN, [0], None, "torchrun starts 4 processes on 2 nodes"),
        (slurm(STEP_TASKS_PER_NODE="2,1", STEP_NUM_TASKS="3"), "auto", None, "2, 1 of them on each; start as many"),
        (BATCH, "auto", None, "the job has 4 tasks on 2 nodes, and srun did not start this process"),
        ({"SLURM_JOB_ID": "17", "SLURM_NNODES": "2"}, "auto", None, "2 tasks on 2 nodes, and srun did not"),
    ],
)
def test_a_mistake_is_named(environ: dict[str, str], devices: object, nodes: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Job.of(environ).trainer_devices(devices, nodes, environ)


def test_a_task_has_to_see_the_gpus_of_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job.torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes on each node, and this one sees 1 GPU"):
        check_visible_gpus(Job.of(slurm()), "auto")
    check_visible_gpus(Job.of(slurm()), "cpu")
    check_visible_gpus(Job.of(ALONE), "gpu")


def test_lightning_takes_ranks_from_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own environment for SLURM refuses --ntasks without --ntasks-per-node, and ignores an interactive job."""
    for name, value in {**slurm(JOB_NAME="interactive"), "MASTER_ADDR": "node1", "MASTER_PORT": "1234"}.items():
        monkeypatch.setenv(name, value)
    (environment,) = Job.of().plugins(None)
    assert Job.of().plugins(environment) == [environment]
    assert type(environment).detect() and environment.creates_processes_externally
    environment.validate_settings(2, 2)
    environment.set_world_size(7)
    environment.set_global_rank(7)
    ranks = environment.global_rank(), environment.local_rank(), environment.node_rank()
    assert (environment.world_size(), *ranks) == (4, 3, 1, 1)
    assert (environment.main_address, environment.main_port) == ("node1", 1234)


def test_a_task_that_is_alone_may_have_several_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    trainer = Trainer(accelerator="cpu", devices=2, default_root_dir=str(tmp_path), logger=False)
    assert trainer.world_size == 2
