"""Check of the processes that SLURM, torchrun or Lightning starts."""

from __future__ import annotations

from collections.abc import Mapping

from src.cli.doctor.finding import Note
from src.errors import UserError


def processes(environ: Mapping[str, str], devices: int | None = None, num_nodes: int = 1) -> str:
    """Compares the processes that are started with those that the trainer expects; without `devices`, names them."""
    scheduler, started, nodes = "SLURM", int(environ.get("SLURM_NTASKS", 0)), int(environ.get("SLURM_NNODES", 1))
    shell = environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # in which Lightning ignores SLURM
    if "TORCHELASTIC_RUN_ID" in environ:  # Lightning, too, prefers torchrun to SLURM
        scheduler, started = "torchrun", int(environ["WORLD_SIZE"])
        nodes = started // int(environ["LOCAL_WORLD_SIZE"])
    elif started > 1 and shell:  # each task would start all processes, and wait forever
        raise UserError(f"Lightning ignores the {started} tasks of a job with this name; set another --job-name")
    elif started > 1 and "SLURM_NTASKS_PER_NODE" not in environ:
        use = f"--nodes {nodes} --ntasks-per-node {-(-started // nodes)}"
        raise UserError(f"Lightning does not accept --ntasks {started} alone; use {use}")
    elif not started or shell:
        if num_nodes > 1 and "MASTER_ADDR" not in environ:
            text = f"trainer.num_nodes is {num_nodes}, but neither SLURM nor torchrun started this process"
            raise UserError(f"{text}; use one of them, or trainer.num_nodes 1")
        if "LOCAL_RANK" in environ:
            return Note("Lightning starts none, since LOCAL_RANK is set; unset it if nothing else starts them")
        return "Lightning starts them"
    text = f"{scheduler} starts {started} on {nodes} {'node' if nodes == 1 else 'nodes'}"
    if devices and (devices * num_nodes, num_nodes) != (started, nodes):
        text += f", and the trainer expects {devices * num_nodes} on {num_nodes}; set trainer.devices"
        raise UserError(f"{text} {started // nodes} and trainer.num_nodes {nodes}, or start other processes")
    if scheduler == "SLURM" and started > 1 and "SLURM_STEP_ID" not in environ:
        text += "; srun did not start this process: fit would wait for the others forever"
        if "SLURM_PROCID" not in environ:  # as in a shell of salloc
            raise UserError(text)
        return Note(text)
    return text
