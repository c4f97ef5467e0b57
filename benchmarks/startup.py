"""The time until the first step and its memory, next to `import lightning, torchvision` alone.

    python -m benchmarks.startup --data_dir DIR

Without `DIR`, the folder of CIFAR-10, only the synthetic data is measured. Each row is a process. All rows run once to
warm up, then in rounds, every second one in reverse order; ratios and differences are those of a round. The table has
medians of wall clock and of processor time, which other programs on the machine affect less.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from lightning import Callback, LightningModule, Trainer

from benchmarks import report
from benchmarks.turns import ROOT

IMPORT = "import lightning, torchvision, time; print('at', time.time(), time.process_time())"

# From the extracted files to images that a network could take.
FIRST_BATCH = """
import sys, time
import torch
from src.data import CIFAR10
data = CIFAR10(sys.argv[1], cache_dir=sys.argv[2] or None, batch_size=128)
data.prepare_data()
wall, processor = time.time(), time.process_time()
data.setup("fit")
batch = data.transfer_batch_to_device(next(iter(data.train_dataloader())), torch.device("cpu"), 0)
assert data.on_after_batch_transfer(batch, 0).images_BCHW.shape == (128, 3, 32, 32)
print("took", time.time() - wall, time.process_time() - processor)
"""


class FirstStep(Callback):
    """Prints the time at the end of the first training step."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 1:
            print("\nat", time.time(), time.process_time(), flush=True)


class Measured(NamedTuple):
    """Seconds of a process, each as wall clock and processor time.

    Attributes:
        total: from its start to its end.
        point: from its start to `at ...`, or what it prints as `took ...`.
        peak_gb: peak of the resident memory.
    """

    total: tuple[float, float]
    point: tuple[float, float]
    peak_gb: float


def measure(arguments: list[str]) -> Measured:
    """Runs Python with these arguments."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.time()
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        total = point = (time.time() - started, usage.ru_utime + usage.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    assert process.returncode == 0, text
    for word, wall, processor in re.findall(r"^(at|took) (\S+) (\S+)$", text, re.MULTILINE):
        point = (float(wall) - (started if word == "at" else 0), float(processor))
    return Measured(total, point, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9)


def commands(folder: str, data_dir: str | None) -> dict[str, list[str]]:
    """Arguments of Python by name."""

    def fit(recipe: str, *more: str) -> list[str]:
        return [
            *("-m", "src", "fit", f"--config=configs/{recipe}.yaml", "--trainer.max_epochs=1"),
            *(f"--trainer.limit_{subset}_batches=20" for subset in ("train", "val", "test")),
            *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=benchmarks.startup.FirstStep"),
            *(f"--trainer.default_root_dir={tempfile.mkdtemp(dir=folder)}/run", *more),
        ]

    result = {
        "import": ["-c", IMPORT],
        "overview": ["-m", "src", "--help"],
        "help": ["-m", "src", "fit", "--help"],
        "quickstart": fit("quickstart"),
    }
    if data_dir:
        cache = f"{folder}/cache"
        result["003_first"] = fit("notebooks/003_first", f"--data.data_dir={data_dir}", f"--data.cache_dir={cache}")
        result["cached batch"] = ["-c", FIRST_BATCH, data_dir, cache]
        result["decoded batch"] = ["-c", FIRST_BATCH, data_dir, ""]
    return result


def main() -> None:
    parser = report.parser(__doc__)
    parser.set_defaults(data_dir=None)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data_dir = str(Path(arguments.data_dir).resolve()) if arguments.data_dir else None

    rounds: list[dict[str, Measured]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + arguments.rounds):
            todo = list(commands(folder, data_dir).items())
            took = {name: measure(command) for name, command in (todo if number % 2 else reversed(todo))}
            print(", ".join(f"{name} {took[name].point[0]:.2f}" for name, _ in todo), flush=True)
            rounds.append(took)
    del rounds[0]  # warmup

    def row(name: str, bound: str, value: Callable[[dict[str, Measured], int], float], unit: str = " s") -> list[str]:
        wall, processor = (statistics.median(value(took, clock) for took in rounds) for clock in (0, 1))
        return [name, f"{wall:.2f}{unit}", f"{processor:.2f}{unit}", bound]

    def first_step(recipe: str) -> list[str]:
        def after_import(took: dict[str, Measured], clock: int) -> float:
            return took[recipe].point[clock] - took["import"].point[clock]

        return row(f"first training step of `{recipe}`, after the import", "2 s", after_import)

    rows = [
        row("`import lightning, torchvision`", "", lambda took, i: took["import"].point[i]),
        row("`python -m src --help`", "0.5 s", lambda took, i: took["overview"].total[i]),
        row("`fit --help` / the import", "1.3", lambda took, i: took["help"].total[i] / took["import"].total[i], ""),
        first_step("quickstart"),
    ]
    if data_dir:
        rows += [
            first_step("003_first"),
            row("first batch of CIFAR-10, cached", "1 s", lambda took, i: took["cached batch"].point[i]),
            row("first batch of CIFAR-10, to be decoded", "", lambda took, i: took["decoded batch"].point[i]),
        ]
    print(f"\n{report.table(['', 'wall clock', 'processor time', 'at most'], rows)}\n")
    if data_dir:
        peak = statistics.median(took["003_first"].peak_gb for took in rounds)
        print(f"Peak memory of `003_first` {peak:.2f} GB, at most 1.5 GB.")
    print(report.conditions(f"torchvision {metadata.version('torchvision')}", f"Python {platform.python_version()}"))


if __name__ == "__main__":
    main()
