"""The cost of what makes a training robust: `fit` with it, against the same training without.

    python -m benchmarks.robustness --data_dir DIR

On: the project's trainer, with last.ckpt every epoch and every `--every` steps. Off: Lightning's Trainer with the same
network, data, precision and TensorBoard, and a checkpoint every epoch, but no signal handling, no check of the loss, no
seed for each step and no manifest. A third side has everything on except the checkpoints between epochs.
Then the time of one checkpoint, with optimizer state, of the notebooks' deep network and of SpeedNet.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks import report
from benchmarks.fit_side import FOREVER, EpochTurns
from benchmarks.notebooks import BATCH
from benchmarks.turns import Side, measure, ratio
from src import models
from src.classifier import Classifier
from src.data import CIFAR10
from src.optim import Muon
from src.runtime.checkpoint_file import write
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.precision import native_precision
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.trainer import Trainer


def train(kind: str, data_dir: str, steps: int, every: int) -> None:
    model = Classifier(models.DeepCNN())
    data = CIFAR10(data_dir, batch_size=BATCH, val_fraction=0, normalize="unit")
    with tempfile.TemporaryDirectory() as folder:
        common: dict[str, Any] = {
            "callbacks": [EpochTurns()],
            "limit_train_batches": steps,
            "max_epochs": FOREVER,
            "enable_progress_bar": False,
            "default_root_dir": folder,
        }
        if kind == "off":
            common["callbacks"].append(ModelCheckpoint(Path(folder), enable_version_counter=False))
            trainer = lightning.Trainer(
                **common,
                precision=native_precision(),
                logger=TensorBoardLogger(folder, name="", version=""),
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
        else:
            checkpoints = RunCheckpoints(every_n_steps=every if kind == "on" else None)
            trainer = Trainer(**common, default_callbacks=DefaultCallbacks(checkpoints=checkpoints))
        trainer.fit(model, datamodule=data)


def checkpoint_cost(net: torch.nn.Module, optimizer: torch.optim.Optimizer, times: int) -> list[object]:
    """Size and median time of a checkpoint, including the write to the disk."""
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    content = {"state_dict": net.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    took = []
    with tempfile.TemporaryDirectory(dir=".") as folder:  # /tmp can be in memory
        path = Path(folder) / "last.ckpt"
        for _ in range(times):
            started = time.perf_counter()
            write(content, path)
            took.append(time.perf_counter() - started)
        return [f"{path.stat().st_size / 1e6:.0f} MB", f"{1000 * statistics.median(took):.0f} ms"]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--steps", type=int, default=300, help="of an epoch, which is a turn")
    parser.add_argument("--every", type=int, default=100, help="steps between two checkpoints")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", default="wall", choices=["wall", "processor"], help="processor: for busy machines")
    parser.add_argument("--short", action="store_true", help="three rounds of 60 steps, a checkpoint every 20")
    parser.add_argument("--side", choices=["on", "once", "off"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.short:
        arguments.steps, arguments.every, arguments.rounds = 60, 20, 3
    if arguments.side:
        train(arguments.side, arguments.data_dir, arguments.steps, arguments.every)
        return

    names = {
        "on": f"all on, a checkpoint every {arguments.every} steps",
        "once": "all on, a checkpoint every epoch",
        "off": "Lightning's Trainer, a checkpoint every epoch",
    }
    command = [sys.executable, "-m", "benchmarks.robustness", f"--data_dir={arguments.data_dir}"]
    command += [f"--steps={arguments.steps}", f"--every={arguments.every}"]
    sides = {kind: Side([*command, f"--side={kind}"]) for kind in names}
    seconds = measure(sides, arguments.rounds, clock=arguments.clock)
    rows = [
        [name, f"{1000 * statistics.median(seconds[kind]) / arguments.steps:.1f}", ratio(seconds[kind], seconds["off"])]
        for kind, name in names.items()
    ]
    print(report.table(["training the deep network", "ms per step", "speed relative to Lightning's"], rows))
    times, deep, speed = 5 if arguments.short else 20, models.DeepCNN(), models.SpeedNet()
    saved = [
        ["DeepCNN, RMSprop", *checkpoint_cost(deep, torch.optim.RMSprop(deep.parameters()), times)],
        ["SpeedNet, Muon", *checkpoint_cost(speed, Muon(speed.parameters()), times)],
    ]
    print(f"\n{report.table(['checkpoint of', 'size', 'time'], saved)}")
    print(f"\n{arguments.rounds} rounds of {arguments.steps} steps, {arguments.clock} clock. {report.conditions()}")


if __name__ == "__main__":
    main()
