"""What several processes cost on one machine, and what they share.

    python -m benchmarks.ranks --data_dir DIR [--steps 60] [--rounds 5]

Step: `fit` with one process of two threads against two processes of one thread, with the same global batch, in turns.
Parts: what two processes add to a step or an epoch, each alone: the all-reduce of the gradients (gloo, in DDP's
buckets of 25 MB), the exchange of the flag that stops all ranks at the same step, the metrics at the end of an epoch,
a barrier.
Memory: proportional set size (a page that n processes share counts as 1/n in each) of all processes of a `fit` with one
and with four ranks, and of the pages of files in it, mainly the decoded images.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torchmetrics import MeanMetric

from benchmarks import report
from benchmarks.fit_side import fit_side
from benchmarks.notebooks import BATCH
from benchmarks.pytorch_side import build
from benchmarks.turns import ROOT, measure, ratio
from src.classifier import Classifier

RECIPES = ("002_simple", "000_deep_augmented")
BUCKET_BYTES = 25 * 2**20  # torch.nn.parallel.DistributedDataParallel's default
REPEATS = 200


def step_ratio(recipe: str, folder: Path, steps: int, rounds: int, data_dir: str) -> list[object]:
    """Milliseconds per step with one and with two processes, and the speed of two relative to one."""
    path, shared = f"configs/notebooks/{recipe}.yaml", [f"--data.data_dir={data_dir}", "--trainer.logger=false"]
    sides = {
        "one": fit_side(path, folder / "one", steps, *shared, "--trainer.devices=1", environ={"OMP_NUM_THREADS": "2"}),
        "two": fit_side(
            *(path, folder / "two", steps, *shared, "--trainer.devices=2", "--trainer.strategy=ddp"),
            environ={"OMP_NUM_THREADS": "1"},
        ),
    }
    seconds = measure(sides, rounds)
    milliseconds = [1000 * statistics.median(seconds[name]) / steps for name in ("one", "two")]
    return [recipe, *milliseconds, ratio(seconds["two"], seconds["one"])]


def parts(rank: int, port: int, path: str) -> None:
    """In each of two processes; the first writes the milliseconds of each part."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", address, timedelta(seconds=60), world_size=2, rank=rank)
    flag = torch.tensor(0)
    rows: dict[str, Callable[[], object]] = {
        "flag of a stop, each step": lambda: distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    }
    for recipe in RECIPES:
        size = sum(parameter.numel() for parameter in build(recipe)[0].parameters())
        buckets = torch.zeros(size).split(BUCKET_BYTES // 4)
        name = f"gradients of {recipe} ({4 * size / 1e6:.1f} MB), each step"
        rows[name] = lambda buckets=buckets: [distributed.all_reduce(bucket) for bucket in buckets]
    metrics = Classifier(build(RECIPES[0])[0]).val_metrics

    def compute() -> None:
        for metric in metrics.values():
            mean = isinstance(metric, MeanMetric)
            metric.update(torch.rand(8) if mean else torch.rand(8, 10), torch.ones(8) if mean else torch.arange(8))
            metric.compute()

    rows["metrics, each epoch"] = compute
    rows["barrier, a few each epoch"] = distributed.barrier
    lines = [f"{name}\t{milliseconds(function)}" for name, function in rows.items()]
    if rank == 0:
        Path(path).write_text("\n".join(lines))
    distributed.destroy_process_group()


def milliseconds(function: Callable[[], object]) -> float:
    for _ in range(REPEATS // 10):
        function()
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        took.append(time.perf_counter() - start)
    return 1000 * statistics.median(took)


def memory(ranks: int, folder: Path, data_dir: str) -> list[object]:
    """Megabytes of all processes of a `fit`, when its first epoch has ended."""
    command = [
        *(sys.executable, "-m", "src", "fit", "--config=configs/notebooks/002_simple.yaml"),
        *(f"--data.data_dir={data_dir}", f"--trainer.default_root_dir={folder}", f"--trainer.devices={ranks}"),
        *("--trainer.accelerator=cpu", "--trainer.limit_train_batches=60", "--trainer.limit_val_batches=4"),
        "--trainer.enable_progress_bar=false",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout and any(line.startswith("epoch 1/") for line in process.stdout)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        sizes = [_set_size(pid) for pid in (str(process.pid), *children)]
    finally:
        process.kill()
        process.communicate()
    total = {name: sum(size[name] for size in sizes) / 1000 for name in ("Pss", "Pss_File")}
    return [ranks, total["Pss"], total["Pss"] / ranks, total["Pss_File"]]


def _set_size(pid: str) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--steps", type=int, default=60, help="of a turn")
    arguments.add_argument("--rounds", type=int, default=5)
    args = arguments.parse_args()
    data_dir = str(Path(args.data_dir).resolve())
    print(report.conditions())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"\nms per step, global batch {BATCH}\n")
        rows = [step_ratio(recipe, folder / recipe, args.steps, args.rounds, data_dir) for recipe in RECIPES]
        print(report.table(["recipe", "1 process, 2 threads", "2 processes, 1 thread", "speed of two"], rows))
        path = folder / "parts"
        spawn(parts, (_free_port(), str(path)), nprocs=2)
        print("\n" + report.table(["part", "ms"], [line.split("\t") for line in path.read_text().splitlines()]))
        rows = [memory(ranks, folder / str(ranks), data_dir) for ranks in (1, 4)]
        print("\n" + report.table(["ranks", "MB in all", "MB for each", "of files"], rows))


if __name__ == "__main__":
    main()
