"""Time to 94 % on a GPU: `fit` on configs/speed94.yaml with checkpoints and TensorBoard on, against the program
airbench94_muon.py of KellerJordan/cifar10-airbench on the same GPU in the same run.

    git clone https://github.com/KellerJordan/cifar10-airbench
    python -m benchmarks.airbench cifar10-airbench/airbench94_muon.py --data_dir DIR

Needs a GPU, this project's packages and that clone, which is imported from where it lies, and CIFAR-10 as a folder
`cifar-10-batches-py` in DIR. Each turn is a process of its own that trains once.

Its seconds are those that it counts itself, training and the test by six views. Ours are from the end of the first
training step to the end of training, logs and checkpoints included, and the test by six views. Its warm-up run and our
first step, which compile and choose kernels, are left out and reported separately.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer

from benchmarks.table import conditions, table
from benchmarks.turns import ROOT, ratio
from src.data import CIFAR10

ALLOWED = 1.3  # times its seconds


class Turn(NamedTuple):
    """What one training came to."""

    seconds: float
    compiling: float
    accuracy: float


class Clock(Callback):
    """Adds seconds.json to a run directory."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self.began, self.first = _now(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tells the first step apart; later ones are not waited for."""
        if not self.first:
            self.first = _now()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self.ended = _now()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self.tested = _now()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        seconds = self.ended - self.first + _now() - self.tested
        content = {"seconds": seconds, "compiling": self.first - self.began}
        (Path(trainer.default_root_dir) / "seconds.json").write_text(json.dumps(content))


def ours(seed: int, data_dir: str, *more: str) -> Turn:
    """Trains once by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "src", "fit", "--config=configs/speed94.yaml", f"--seed_everything={seed}"),
            *(f"--data.data_dir={data_dir}", f"--trainer.default_root_dir={folder}/run"),
            *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=benchmarks.airbench.Clock", *more),
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads((Path(folder) / "run/results.json").read_text())
        return Turn(**json.loads((Path(folder) / "run/seconds.json").read_text()), accuracy=results["test"]["test/acc"])


def theirs(program: Path, data_dir: str) -> Turn:
    """Lets the other program train once, in a folder where it finds the data."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cifar10").mkdir()
        source = Path(data_dir).resolve() / CIFAR10.source.base_folder
        (Path(folder) / "cifar10" / source.name).symlink_to(source)
        command = [sys.executable, "-m", "benchmarks.airbench", str(program.resolve()), "--once"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE, text=True)
        return Turn(**json.loads(done.stdout.splitlines()[-1]))


def train_theirs(program: Path) -> Turn:
    """Calls what the program calls when it is run, once to compile and once to measure."""
    named = importlib.util.spec_from_file_location("airbench94_muon", program)
    assert named and named.loader
    airbench: Any = importlib.util.module_from_spec(named)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        named.loader.exec_module(airbench)
        model = airbench.CifarNet().cuda().to(memory_format=torch.channels_last)
        model.compile(mode="max-autotune")
        began = _now()
        airbench.main("warmup", model)
        compiling = _now() - began
        accuracy = airbench.main(0, model)
    # The last number of its table is its time.
    return Turn(float(re.findall(r"\d+\.\d+", said.getvalue())[-1]), compiling, float(accuracy))


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="your copy of airbench94_muon.py")
    parser.add_argument("--data_dir", default="data", help="where cifar-10-batches-py lies")
    parser.add_argument("--compile", action="store_true", help="compile our network as well")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("airbench: there is no GPU here that torch can use, and airbench94_muon.py trains on nothing else")
    if not arguments.program.is_file():
        sys.exit(f"airbench: there is no {arguments.program}; clone KellerJordan/cifar10-airbench and name its file")
    if arguments.once:
        print(json.dumps(train_theirs(arguments.program)._asdict()))
        return
    if not (Path(arguments.data_dir) / CIFAR10.source.base_folder).is_dir():
        sys.exit(f"airbench: there is no {CIFAR10.source.base_folder} in {arguments.data_dir}; name it by --data_dir")

    turns: dict[str, list[Turn]] = {"fit": [], "airbench94_muon.py": []}
    more = ["--model.compile=true"] if arguments.compile else []
    for number in range(arguments.rounds):
        for name in list(turns) if number % 2 == 0 else reversed(turns):
            took = (
                ours(number, arguments.data_dir, *more)
                if name == "fit"
                else theirs(arguments.program, arguments.data_dir)
            )
            turns[name].append(took)
            print(name, took, flush=True)
    rows = [
        [
            name,
            statistics.median(turn.seconds for turn in taken),
            statistics.median(turn.compiling for turn in taken),
            f"{100 * statistics.mean(turn.accuracy for turn in taken):.2f} %",
        ]
        for name, taken in turns.items()
    ]
    times = 1 / ratio(*([turn.seconds for turn in taken] for taken in turns.values()))
    print(f"\n{table(['program', 'seconds', 'compiling, apart', 'test accuracy, mean'], rows)}")
    print(f"\n{times:.2f} times its seconds, at most {ALLOWED} claimed. {conditions()}")


if __name__ == "__main__":
    main()
