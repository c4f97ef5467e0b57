"""How long a user waits, and how much memory that takes, next to a bare `import lightning, torchvision`.

    python benchmarks/startup.py --data_dir DIR

`DIR` has the real CIFAR-10; without it only the embedded data is measured. Each row is a process of its own. All rows
run once to warm up, then again in rounds, every second one in reverse order; ratios are those of one round. The table
has medians of wall clock and of processor time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
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

import torch
from lightning import Callback, LightningModule, Trainer

ROOT = Path(__file__).parent.parent

BARE = "import lightning, torchvision, time; print('at', time.time(), time.process_time())"

# From where the files lie unpacked, to images that a network could take.
FIRST_BATCH = """
import sys, time
import torch
from src.data import CIFAR10
data = CIFAR10(sys.argv[1], cache_dir=sys.argv[2] or None, batch_size=128)
data.prepare_data()
began, worked = time.time(), time.process_time()
data.setup("fit")
batch = data.transfer_batch_to_device(next(iter(data.train_dataloader())), torch.device("cpu"), 0)
assert data.on_after_batch_transfer(batch, 0).images_BCHW.shape == (128, 3, 32, 32)
print("took", time.time() - began, time.process_time() - worked)
"""


class FirstStep(Callback):
    """Says when the first training step has ended."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints the time."""
        if trainer.global_step == 1:
            print("\nat", time.time(), time.process_time(), flush=True)


class Time(NamedTuple):
    """Seconds of the clock, and of the processor."""

    clock: float
    worked: float


class Measured(NamedTuple):
    """What a process took.

    Attributes:
        whole: from beginning to end.
        point: to where it printed `at ...`, or what it said that it `took ...`.
        peak_gb: of resident memory.
    """

    whole: Time
    point: Time
    peak_gb: float


def measure(arguments: list[str]) -> Measured:
    """Runs Python with these arguments."""
    with tempfile.TemporaryFile("w+") as output:
        began = time.time()
        process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        whole = Time(time.time() - began, usage.ru_utime + usage.ru_stime)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    assert process.returncode == 0, text
    point = whole
    for word, clock, worked in re.findall(r"^(at|took) (\S+) (\S+)$", text, re.MULTILINE):
        point = Time(float(clock) - (began if word == "at" else 0), float(worked))
    kilo = 1 if sys.platform == "darwin" else 1024
    return Measured(whole, point, usage.ru_maxrss * kilo / 1e9)


def commands(folder: str, data_dir: str | None) -> dict[str, list[str]]:
    """What is run, by name."""

    def fit(recipe: str, *more: str) -> list[str]:
        directory = tempfile.mkdtemp(dir=folder) + "/run"
        short = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=20", "--trainer.limit_val_batches=20")
        mine = (f"--trainer.default_root_dir={directory}", "--trainer.callbacks+=benchmarks.startup.FirstStep")
        quiet = ("--trainer.limit_test_batches=20", "--trainer.enable_progress_bar=false")
        return ["-m", "src", "fit", f"--config=configs/{recipe}.yaml", *short, *mine, *quiet, *more]

    found = {
        "bare": ["-c", BARE],
        "overview": ["-m", "src", "--help"],
        "help": ["-m", "src", "fit", "--help"],
        "quickstart": fit("quickstart"),
    }
    if data_dir:
        cache = f"{folder}/cache"
        found["003_first"] = fit("notebooks/003_first", f"--data.data_dir={data_dir}", f"--data.cache_dir={cache}")
        found["cached batch"] = ["-c", FIRST_BATCH, data_dir, cache]
        found["decoded batch"] = ["-c", FIRST_BATCH, data_dir, ""]
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data_dir = str(Path(arguments.data_dir).resolve()) if arguments.data_dir else None

    rounds: list[dict[str, Measured]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + arguments.rounds):
            todo = list(commands(folder, data_dir).items())
            took = {name: measure(command) for name, command in (todo if number % 2 else reversed(todo))}
            print(", ".join(f"{name} {took[name].point.clock:.2f}" for name, _ in todo), flush=True)
            rounds.append(took)
    del rounds[0]  # warmed up

    def row(what: str, bound: str, value: Callable[[dict[str, Measured], int], float], unit: str = " s") -> None:
        clock, worked = (statistics.median(value(took, which) for took in rounds) for which in (0, 1))
        print(f"| {what} | {clock:.2f}{unit} | {worked:.2f}{unit} | {bound} |")

    print("\n| | by the clock | of the processor | at most |\n| --- | --- | --- | --- |")
    row("`import lightning, torchvision`", "", lambda took, i: took["bare"].point[i])
    row("`python -m src --help`", "0.5 s", lambda took, i: took["overview"].whole[i])
    row("`fit --help` / the import", "1.3", lambda took, i: took["help"].whole[i] / took["bare"].whole[i], "")
    for name in ["quickstart", *(["003_first"] if data_dir else [])]:

        def after_import(took: dict[str, Measured], i: int, name: str = name) -> float:
            return took[name].point[i] - took["bare"].point[i]

        row(f"first training step of `{name}`, after the import", "2 s", after_import)
    if data_dir:
        row("first batch of CIFAR-10, kept decoded", "1 s", lambda took, i: took["cached batch"].point[i])
        row("first batch of CIFAR-10, to be decoded", "", lambda took, i: took["decoded batch"].point[i])
        peak = statistics.median(took["003_first"].peak_gb for took in rounds)
        print(f"\npeak memory of `003_first` {peak:.2f} GB, at most 1.5 GB")
    processor = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("lightning", "torch", "torchvision"))
    print(
        f"\n{packages}, Python {platform.python_version()}; {processor or platform.machine()}, {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
