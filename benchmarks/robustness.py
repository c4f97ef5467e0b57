"""What a step costs with everything that makes a training robust, against the same training without.

    python -m benchmarks.robustness --data_dir DIR

On: the project's trainer, last.ckpt once an epoch and every `--every` steps. Off: Lightning's own Trainer with
the same network, data, precision and TensorBoard, and Lightning's own checkpoint once an epoch; no signals, no check of
the loss, no seed of the step, no records. A side of its own has all on but the checkpoints between epochs.
Then what one checkpoint costs, for the notebooks' deep network and for SpeedNet, each with its optimizer's state.
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

from benchmarks.fit_side import FOREVER, EpochTurns
from benchmarks.table import conditions, table
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
    """Trains as one side until it is stopped."""
    model = Classifier(models.DeepCNN())
    data = CIFAR10(data_dir, batch_size=128, val_fraction=0, normalize="unit")
    with tempfile.TemporaryDirectory() as folder:
        same: dict[str, Any] = {
            "callbacks": [EpochTurns()],
            "limit_train_batches": steps,
            "max_epochs": FOREVER,
            "enable_progress_bar": False,
            "default_root_dir": folder,
        }
        if kind == "off":
            same["callbacks"].append(ModelCheckpoint(Path(folder), enable_version_counter=False))
            trainer = lightning.Trainer(
                **same,
                precision=native_precision(),
                logger=TensorBoardLogger(folder, name="", version=""),
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
        else:
            checkpoints = RunCheckpoints(every_n_steps=every if kind == "on" else None)
            trainer = Trainer(**same, default_callbacks=DefaultCallbacks(checkpoints=checkpoints))
        trainer.fit(model, datamodule=data)


def checkpoint_milliseconds(net: torch.nn.Module, optimizer: type[torch.optim.Optimizer], times: int) -> list[object]:
    """Size and median time of a checkpoint, the write to the disk included."""
    optimizing = optimizer(net.parameters())  # pyright: ignore[reportCallIssue]
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizing.step()
    content = {"state_dict": net.state_dict(), "optimizer_states": [optimizing.state_dict()]}
    took = []
    with tempfile.TemporaryDirectory(dir=".") as folder:  # not in memory, as /tmp may be
        path = Path(folder) / "last.ckpt"
        for _ in range(times):
            began = time.perf_counter()
            write(content, path)
            took.append(time.perf_counter() - began)
        return [f"{path.stat().st_size / 1e6:.0f} MB", f"{1000 * statistics.median(took):.0f} ms"]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where CIFAR-10 lies")
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
        "once": "all on, a checkpoint an epoch",
        "off": "Lightning's own, a checkpoint an epoch",
    }
    command = [sys.executable, "-m", "benchmarks.robustness", f"--data_dir={arguments.data_dir}"]
    command += [f"--steps={arguments.steps}", f"--every={arguments.every}"]
    seconds = measure(
        {kind: Side([*command, f"--side={kind}"]) for kind in names}, arguments.rounds, clock=arguments.clock
    )
    rows = [
        [name, f"{1000 * statistics.median(seconds[kind]) / arguments.steps:.1f}", ratio(seconds[kind], seconds["off"])]
        for kind, name in names.items()
    ]
    print(table(["training the deep network", "ms per step", "speed, of Lightning's own"], rows))
    times = 5 if arguments.short else 20
    saved = [
        ["DeepCNN, RMSprop", *checkpoint_milliseconds(models.DeepCNN(), torch.optim.RMSprop, times)],
        ["SpeedNet, Muon", *checkpoint_milliseconds(models.SpeedNet(), Muon, times)],
    ]
    print(f"\n{table(['a checkpoint of', 'size', 'takes'], saved)}")
    print(f"\n{arguments.rounds} rounds of {arguments.steps} steps, {arguments.clock} clock. {conditions()}")


if __name__ == "__main__":
    main()
