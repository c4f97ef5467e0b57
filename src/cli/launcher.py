"""What starts the processes of a training: SLURM, torchrun or Lightning; and how many against how many cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from src.cli.finding import Finding


class Launch(NamedTuple):
    """What starts the processes, and how many."""

    by: str
    devices: int
    nodes: int


def launch(environ: Mapping[str, str]) -> Launch | Finding | None:
    """What the scheduler's variables say; a finding where they contradict themselves, none where there are none."""
    if "TORCHELASTIC_RUN_ID" in environ:  # which Lightning, too, believes before SLURM
        world = int(environ.get("WORLD_SIZE", 1))
        local = int(environ.get("LOCAL_WORLD_SIZE", world))
        return Launch("torchrun", local, world // local)
    tasks = int(environ.get("SLURM_NTASKS", 0))
    if not tasks:
        return None
    nodes = int(environ.get("SLURM_NNODES", 1))
    if (name := environ.get("SLURM_JOB_NAME")) in ("bash", "interactive"):
        if tasks == 1:
            return None
        # Lightning takes such a job for a shell, so each task would start all processes anew and wait for ever.
        text = f"in a job called {name}, Lightning does not see SLURM's {tasks} tasks; give it another --job-name"
        return Finding("FAIL", "processes", text)
    per_node = environ.get("SLURM_NTASKS_PER_NODE")
    if tasks > 1 and per_node is None:
        text = f"Lightning refuses --ntasks {tasks} alone; use --nodes {nodes} --ntasks-per-node {-(-tasks // nodes)}"
        return Finding("FAIL", "processes", text)
    if int(per_node or 1) * nodes != tasks:
        text = (
            f"SLURM starts {tasks} tasks, not --nodes {nodes} x --ntasks-per-node {per_node or 1}; leave out --ntasks"
        )
        return Finding("FAIL", "processes", text)
    return Launch("SLURM", int(per_node or 1), nodes)


def processes(environ: Mapping[str, str], devices: int | None = None, nodes: int | None = None) -> Finding:
    """Whether as many processes are started as the trainer waits for.

    Args:
        environ: the variables of the scheduler's.
        devices: of a node; none where there is no configuration to compare.
        nodes: trainer.num_nodes.
    """
    found = launch(environ)
    if isinstance(found, Finding):
        return found
    if found is None:
        if (nodes or 1) > 1 and "MASTER_ADDR" not in environ:
            text = f"trainer.num_nodes is {nodes}, but neither SLURM nor torchrun started this process"
            return Finding("FAIL", "processes", f"{text}; use one of them, or trainer.num_nodes 1")
        if "LOCAL_RANK" in environ:
            text = f"LOCAL_RANK {environ['LOCAL_RANK']} is set: Lightning will start no process, and wait for those"
            return Finding("note", "processes", f"{text} that something else starts; unset it if nothing does")
        return Finding("ok", "processes", "no scheduler; Lightning starts them")
    by, per_node, number = found
    text = f"{by} starts {per_node} on {number} {'node' if number == 1 else 'nodes'}"
    if devices is None:
        return Finding("ok", "processes", f"{text}: trainer.devices {per_node}, trainer.num_nodes {number}")
    if (devices, nodes) != (per_node, number):
        option = "--nproc-per-node and --nnodes" if by == "torchrun" else "--ntasks-per-node and --nodes"
        text += f", and the trainer expects {devices} on {nodes}; set trainer.devices {per_node} and"
        return Finding("FAIL", "processes", f"{text} trainer.num_nodes {number}, or change {option}")
    if by == "SLURM" and per_node * number > 1 and "SLURM_STEP_ID" not in environ:
        text += "; srun did not start this process: begin both doctor and fit by srun, or fit waits for the others"
        # Without a rank, in a shell of salloc's, Lightning cannot even build the trainer.
        return Finding("note" if "SLURM_PROCID" in environ else "FAIL", "processes", f"{text} for ever")
    return Finding("ok", "processes", text)


def threads(processes: int, each: int, cores: int, on_cpu: bool) -> Finding:
    """Whether processes and their threads fill the cores and no more.

    Args:
        processes: of this node.
        each: threads of a process.
        cores: that this process may use.
        on_cpu: whether the training itself is computed there.
    """
    text = f"{processes} x {each} on {cores} cores"
    fitting = max(1, cores // processes)
    if processes * each > cores:
        text += f": they wait for each other; set OMP_NUM_THREADS={fitting}"
        return Finding("note", "threads", text + (" and fewer processes" if processes > cores else ""))
    if on_cpu and 2 * processes * each < cores:  # torch itself leaves every second one, of hyperthreads, idle
        return Finding("note", "threads", f"{text}: the rest stays idle; set OMP_NUM_THREADS={fitting}")
    return Finding("ok", "threads", text)
