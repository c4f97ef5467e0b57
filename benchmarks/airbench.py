"""Time to 94 % on a GPU: `fit` with configs/speed94.yaml, checkpoints and TensorBoard included, against
airbench94_muon.py of KellerJordan/cifar10-airbench on the same GPU.

    git clone https://github.com/KellerJordan/cifar10-airbench
    python -m benchmarks.airbench cifar10-airbench/airbench94_muon.py --data_dir DIR

Needs a GPU, that clone, and CIFAR-10 as a folder `cifar-10-batches-py` in DIR. Each turn is a process that trains once.

The seconds of airbench are those that it reports: training and the test with six views. Those of `fit` are from the end
of the first training step to the end of training, and the test with six views. The warmup run of airbench and the first
step of `fit`, which compile and select kernels, are reported separately.
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

from benchmarks import report
from benchmarks.turns import ROOT, ratio

ALLOWED = 1.3  # times the seconds of airbench
CIFAR10_FOLDER = "cifar-10-batches-py"


class Turn(NamedTuple):
    """The result of one training."""

    seconds: float
    compiling: float
    accuracy: float


class Clock(Callback):
    """Writes seconds.json to the run directory."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started, self.first = _now(), 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self.first:  # later steps are not synchronized
            self.first = _now()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = _now()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.tested = _now()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = self.ended - self.first + _now() - self.tested
        content = {"seconds": seconds, "compiling": self.first - self.started}
        (Path(trainer.default_root_dir) / "seconds.json").write_text(json.dumps(content))


def run_fit(seed: int, data_dir: Path, *arguments: str) -> Turn:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "src", "fit", "--config=configs/speed94.yaml", f"--seed_everything={seed}"),
            *(f"--data.data_dir={data_dir}", f"--trainer.default_root_dir={folder}/run"),
            *("--trainer.enable_progress_bar=false", "--trainer.callbacks+=benchmarks.airbench.Clock", *arguments),
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        results = json.loads((Path(folder) / "run/results.json").read_text())
        return Turn(**json.loads((Path(folder) / "run/seconds.json").read_text()), accuracy=results["test"]["test/acc"])


def run_airbench(program: Path, data_dir: Path) -> Turn:
    """Runs `train_airbench` in a folder where the program finds the data."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cifar10").mkdir()
        (Path(folder) / "cifar10" / CIFAR10_FOLDER).symlink_to(data_dir / CIFAR10_FOLDER)
        command = [sys.executable, "-m", "benchmarks.airbench", str(program.resolve()), "--once"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.PIPE, text=True)
        return Turn(**json.loads(done.stdout.splitlines()[-1]))


def train_airbench(program: Path) -> Turn:
    """Calls the functions that the program calls as a script: one run to compile, one to measure."""
    spec = importlib.util.spec_from_file_location("airbench94_muon", program)
    assert spec and spec.loader
    airbench: Any = importlib.util.module_from_spec(spec)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        spec.loader.exec_module(airbench)
        model = airbench.CifarNet().cuda().to(memory_format=torch.channels_last)
        model.compile(mode="max-autotune")
        started = _now()
        airbench.main("warmup", model)
        compiling = _now() - started
        accuracy = airbench.main(0, model)
    # The last number of the table that it prints is the time.
    return Turn(float(re.findall(r"\d+\.\d+", output.getvalue())[-1]), compiling, float(accuracy))


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("program", type=Path, help="your copy of airbench94_muon.py")
    parser.add_argument("--compile", action="store_true", help="also compile the network of fit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("airbench: torch finds no GPU, which airbench94_muon.py requires")
    if not arguments.program.is_file():
        sys.exit(f"airbench: {arguments.program} not found; clone KellerJordan/cifar10-airbench and pass its file")
    if arguments.once:
        print(json.dumps(train_airbench(arguments.program)._asdict()))
        return
    data_dir = Path(arguments.data_dir).resolve()
    if not (data_dir / CIFAR10_FOLDER).is_dir():
        sys.exit(f"airbench: {data_dir / CIFAR10_FOLDER} not found; pass its parent as --data_dir")

    turns: dict[str, list[Turn]] = {"fit": [], "airbench94_muon.py": []}
    more = ["--model.compile=true"] if arguments.compile else []
    for number in range(arguments.rounds):
        for name in list(turns) if number % 2 == 0 else reversed(turns):
            is_fit = name == "fit"
            turn = run_fit(number, data_dir, *more) if is_fit else run_airbench(arguments.program, data_dir)
            turns[name].append(turn)
            print(name, turn, flush=True)
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
    print(f"\n{report.table(['program', 'seconds', 'compiling, in addition', 'mean test accuracy'], rows)}")
    print(f"\n{times:.2f} times the seconds of airbench; at most {ALLOWED} is claimed. {report.conditions()}")


if __name__ == "__main__":
    main()
