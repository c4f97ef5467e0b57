"""The job that this process belongs to: the processes that SLURM or torchrun has started for it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from src.errors import UserError


@dataclass(frozen=True)
class Job:
    """What the environment variables say about this process."""

    launcher: Literal["SLURM", "torchrun", "Lightning"] = "Lightning"  # of the other processes
    name: str | None = None  # unique on a cluster, the same after a restart; None for one that nothing restarts
    rank: int = 0
    local_rank: int = 0
    node: int = 0
    tasks_per_node: tuple[int, ...] = (1,)
    restarts: tuple[int, int] = (0, 0)  # by SLURM, and by torchrun since then

    @property
    def world_size(self) -> int:
        """The number of processes that the launcher has started; Lightning starts its own later."""
        return sum(self.tasks_per_node)

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Job:
        """The job of this process. Where torchrun runs in a job of SLURM's, RANK alone decides the rank."""
        name, restarts = _slurm_name(environ), (_number(environ, "SLURM_RESTART_COUNT"), 0)
        if "TORCHELASTIC_RUN_ID" in environ:
            run_id, local = environ["TORCHELASTIC_RUN_ID"], _number(environ, "LOCAL_WORLD_SIZE", 1)
            return cls(
                launcher="torchrun",
                name=name if run_id == "none" else re.sub(r"[^\w.-]", "_", run_id),  # none: torchrun's default
                rank=_number(environ, "RANK"),
                local_rank=_number(environ, "LOCAL_RANK"),
                node=_number(environ, "GROUP_RANK"),
                tasks_per_node=(local,) * (_number(environ, "WORLD_SIZE", 1) // local),
                restarts=(restarts[0], _number(environ, "TORCHELASTIC_RESTART_COUNT")),
            )
        if _number(environ, "SLURM_STEP_NUM_TASKS") > 1:  # set by srun
            return cls(
                launcher="SLURM",
                name=name,
                rank=_number(environ, "SLURM_PROCID"),
                local_rank=_number(environ, "SLURM_LOCALID"),
                node=_number(environ, "SLURM_NODEID"),
                tasks_per_node=_expand(environ["SLURM_STEP_TASKS_PER_NODE"]),
                restarts=restarts,
            )
        local, node = _number(environ, "LOCAL_RANK"), _number(environ, "NODE_RANK")
        return cls(name=name, rank=_number(environ, "RANK", max(local, node)), local_rank=local, restarts=restarts)

    def __str__(self) -> str:
        restarts = f", restart {sum(self.restarts)}" if any(self.restarts) else ""
        return f"job {self.name}{restarts}"

    def plugins(self, given: Any) -> list[Any]:
        """The trainer's plugins, one of which tells Lightning ranks and addresses."""
        plugins = given if isinstance(given, list) else [given] if given else []
        if any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
            return plugins
        if self.launcher == "SLURM":
            return [*plugins, JobEnvironment(self)]
        # Lightning would take a shell of srun, and a task that is alone, for one of several that SLURM starts.
        alone = self.launcher == "Lightning" and "SLURM_NTASKS" in os.environ
        return [*plugins, LightningEnvironment()] if alone else plugins

    @property
    def started(self) -> str:
        """What the launcher has started, in words."""
        nodes = len(self.tasks_per_node)
        return f"{self.launcher} starts {self.world_size} processes on {nodes} node{'s' * (nodes > 1)}"

    def trainer_devices(
        self, devices: object, num_nodes: int | None, environ: Mapping[str, str] = os.environ
    ) -> tuple[Any, int]:
        """The trainer's `devices` and `num_nodes`: where they are not given, what the launcher has started.

        Raises:
            UserError: if they are given and differ from it, or the launcher has not started the other processes.
        """
        automatic, given = devices in ("auto", -1, "-1"), _count(devices)
        if self.launcher == "Lightning":
            num_nodes = 1 if num_nodes is None else num_nodes
            _check_not_alone(given, num_nodes, environ)
            return devices, num_nodes
        nodes, per_node = len(self.tasks_per_node), self.tasks_per_node[0]
        if set(self.tasks_per_node) != {per_node}:
            raise UserError(
                f"{self.started}, {', '.join(map(str, self.tasks_per_node))} of them on each; start as many on each "
                "node, by --ntasks-per-node"
            )
        if (not automatic and given != per_node) or num_nodes not in (None, nodes):
            expected = (per_node if automatic else given) * (num_nodes or nodes)
            raise UserError(
                f"{self.started}, and trainer.devices {devices} and trainer.num_nodes {num_nodes or nodes} expect "
                f"{expected} on {num_nodes or nodes}; leave both out, since the job decides them, or start other "
                "processes"
            )
        return per_node if automatic else devices, nodes


def _check_not_alone(devices: int, num_nodes: int, environ: Mapping[str, str]) -> None:
    nodes = _number(environ, "SLURM_NNODES", 1)
    tasks = max(nodes, _number(environ, "SLURM_NTASKS", 1))
    if "SLURM_JOB_ID" in environ and "SLURM_STEP_ID" not in environ and tasks > 1 and devices != 1:
        raise UserError(
            f"the job has {tasks} tasks on {nodes} node{'s' * (nodes > 1)}, and srun did not start this process, so it "
            "would be alone; start it by `srun python -m src ...`, or set trainer.devices 1"
        )
    if num_nodes > 1 and "MASTER_ADDR" not in environ:
        raise UserError(
            f"trainer.num_nodes is {num_nodes}, but neither SLURM nor torchrun started this process; use one of them, "
            "or trainer.num_nodes 1"
        )


class JobEnvironment(ClusterEnvironment):
    """Lightning's view of a job that SLURM has started. Lightning's own refuses --ntasks without --ntasks-per-node,
    ignores a job called `interactive`, gives all steps of a job the same port, and handles SIGUSR1 itself, which can
    leave two ranks waiting for each other."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    @staticmethod
    def detect() -> bool:
        return Job.of().launcher == "SLURM"

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ["MASTER_ADDR"]  # set by `rendezvous.join`

    @property
    def main_port(self) -> int:
        return int(os.environ["MASTER_PORT"])

    def world_size(self) -> int:
        return self.job.world_size

    def set_world_size(self, size: int) -> None:
        """SLURM decides it."""

    def global_rank(self) -> int:
        return self.job.rank

    def set_global_rank(self, rank: int) -> None:
        """SLURM decides it."""

    def local_rank(self) -> int:
        return self.job.local_rank

    def node_rank(self) -> int:
        return self.job.node


def check_visible_gpus(job: Job, accelerator: object) -> None:
    """Raises UserError if this process sees fewer GPUs than there are processes on its node."""
    visible = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0
    if job.launcher != "Lightning" and 0 < visible < job.tasks_per_node[job.node]:
        raise UserError(
            f"{job.launcher} starts {job.tasks_per_node[job.node]} processes on each node, and this one sees {visible} "
            "GPU(s); each process must see all GPUs of its node: request them by --gpus-per-node or --gres, without "
            "--gpus-per-task and --gpu-bind, and as many as tasks"
        )


def _slurm_name(environ: Mapping[str, str]) -> str | None:
    job = environ.get("SLURM_ARRAY_JOB_ID") or environ.get("SLURM_JOB_ID")
    task, step = environ.get("SLURM_ARRAY_TASK_ID"), environ.get("SLURM_STEP_ID", "0")
    return job and job + (f"_{task}" if task else "") + (f".{step}" if step != "0" else "")


def _number(environ: Mapping[str, str], name: str, default: int = 0) -> int:
    return int(environ.get(name) or default)


def _count(devices: object) -> int:
    """The number of devices that an argument asks for; 0 for all."""
    if isinstance(devices, str) and "," in devices:
        devices = [index for index in devices.split(",") if index]
    if isinstance(devices, list | tuple):
        return len(devices)
    return int(str(devices)) if str(devices).isdigit() else 0


def _expand(tasks_per_node: str) -> tuple[int, ...]:
    """SLURM's notation, as "2(x3),1" for 2, 2, 2 and 1."""
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", tasks_per_node)
    return tuple(int(tasks) for tasks, times in parts for _ in range(int(times or 1)))
