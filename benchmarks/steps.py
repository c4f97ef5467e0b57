"""What a step is made of, and whether it stays as fast: input, long logs, validation.

    python -m benchmarks.steps --data_dir DIR

Input: the fraction of an epoch spent on yielding indices, gathering, augmenting and normalizing, by Lightning's
profiler around these hooks. On a GPU these only queue work, so there it is the time of the host.
Logs: the notebooks' scalars for 10,000 epochs of one step each; the last tenth of the steps against the second tenth.
Validation: seconds of `validate` per image, against the bare network in evaluation mode on images in memory.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning import Callback, LightningModule
from lightning import Trainer as LightningTrainer
from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.notebooks import FITS, SHORT
from benchmarks.table import conditions, table
from src.classifier import Classifier
from src.data import CIFAR10, Shapes
from src.data.augment import ImageDataGenerator, PreprocessingLayers
from src.models import DeepCNN, SimpleCNN
from src.runtime.trainer import Trainer

INPUT = ("train_dataloader_next", "transfer_batch_to_device", "on_after_batch_transfer")
WARM_UP = 10  # steps


def parts(recipe: str, data_dir: str) -> tuple[Classifier, CIFAR10]:
    """A notebook's network and data."""
    fourth_conv, augmentation, _ = FITS[recipe]
    augment = {"layers": [PreprocessingLayers()], "generator": [ImageDataGenerator()], None: []}[augmentation]
    net = DeepCNN(fourth_conv=fourth_conv) if fourth_conv else SimpleCNN()
    data = CIFAR10(data_dir, batch_size=128, val_fraction=0.2, normalize="unit", augment=augment)
    return Classifier(net), data


def input_fraction(recipe: str, data_dir: str, steps: int) -> list[object]:
    """Milliseconds per step, of its input, and the fraction."""
    model, data = parts(recipe, data_dir)
    profiler = SimpleProfiler()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_steps=WARM_UP + steps,
            limit_val_batches=0,
            default_root_dir=folder,
            profiler=profiler,
            enable_progress_bar=False,
        )
        trainer.fit(model, datamodule=data, test_after_fit=False)

    def milliseconds(*names: str) -> float:
        durations = [took[WARM_UP:] for action, took in profiler.recorded_durations.items() if action.endswith(names)]
        assert durations, f"Lightning's profiler no longer knows {names}"
        return 1000 * sum(statistics.median(took) for took in durations)

    given, trained = milliseconds(*INPUT), milliseconds("run_training_batch")
    return [recipe, f"{given + trained:.1f}", f"{given:.2f}", f"{100 * given / (given + trained):.1f} %"]


class StepTimes(Callback):
    """Notes when each epoch begins."""

    def __init__(self) -> None:
        self.began: list[float] = []

    def on_train_epoch_start(self, trainer: LightningTrainer, pl_module: LightningModule) -> None:
        """Takes the time."""
        self.began.append(time.perf_counter())


def long_logs(epochs: int) -> list[object]:
    """Milliseconds of an epoch of one step, with its scalars and checkpoint, early and late, and their ratio."""
    times = StepTimes()
    data = Shapes(train_size=20, test_size=10, image_size=8, batch_size=20, val_fraction=0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, data.num_classes))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=epochs,
            callbacks=[times],
            default_root_dir=folder,
            log_every_n_steps=1,
            enable_progress_bar=False,
        )
        trainer.fit(Classifier(net), datamodule=data, test_after_fit=False)
        megabytes = sum(file.stat().st_size for file in Path(folder).glob("events.out.*")) / 1e6
    took = [1000 * (after - before) for before, after in zip(times.began, times.began[1:], strict=False)]
    tenth = len(took) // 10
    early, late = statistics.median(took[tenth : 2 * tenth]), statistics.median(took[-tenth:])
    return [f"{epochs:,}", f"{megabytes:.1f} MB", f"{early:.2f}", f"{late:.2f}", late / early]


@torch.no_grad()
def validation(recipe: str, data_dir: str, rounds: int) -> list[object]:
    """Microseconds of an image by `validate` and by the network alone, and their ratio."""
    model, data = parts(recipe, data_dir)
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(default_root_dir=folder, logger=False, enable_progress_bar=False)
        trainer.validate(model, datamodule=data, verbose=False)
        images_NHWC = data.image_set("train").images_NHWC[data.val_indices]
        images_NCHW = images_NHWC.permute(0, 3, 1, 2).to(model.device).float().div_(255)

        def ours() -> None:
            trainer.validate(model, datamodule=data, verbose=False)

        def bare() -> None:
            model.net.eval()
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                for batch_BCHW in images_NCHW.split(128):
                    model.net(batch_BCHW)

        for number in range(rounds):
            took = {}
            for side in (ours, bare) if number % 2 == 0 else (bare, ours):
                began = time.perf_counter()
                side()
                took[side] = time.perf_counter() - began
            pairs.append((took[ours], took[bare]))
    per_image = [1e6 * statistics.median(side) / len(images_NCHW) for side in zip(*pairs, strict=True)]
    return [recipe, *(f"{value:.0f}" for value in per_image), statistics.median(a / b for a, b in pairs)]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="where CIFAR-10 lies")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="two recipes of 40 steps, 500 epochs, two rounds")
    arguments = parser.parse_args()
    recipes = SHORT if arguments.short else tuple(FITS)
    if arguments.short:
        arguments.steps, arguments.epochs, arguments.rounds = 40, 500, 2
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    fractions = [input_fraction(recipe, arguments.data_dir, arguments.steps) for recipe in recipes]
    logs = long_logs(arguments.epochs)
    validated = [validation(recipe, arguments.data_dir, arguments.rounds) for recipe in recipes]
    print(f"\n{table(['recipe', 'ms per step', 'of it input', 'fraction'], fractions)}")
    print(f"\n{table(['epochs of one step', 'logs', 'ms, second tenth', 'ms, last tenth', 'ratio'], [logs])}")
    print(f"\n{table(['validation of', 'us per image', 'the network alone', 'ratio'], validated)}")
    print(f"\n{conditions()}")


if __name__ == "__main__":
    main()
