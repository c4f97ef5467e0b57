"""The input of a step, long logs, and validation.

    python -m benchmarks.steps --data_dir DIR

Input: the fraction of an epoch spent on yielding indices, gathering, augmenting and normalizing, measured by the
profiler of Lightning around these hooks. On a GPU these only queue work, so there it is the time of the host. The last
row is torchvision's ResNet-18 with 1,000 classes on random resized crops of 224 pixels, flipped.
Logs: the notebooks' scalars for 10,000 epochs of one step each; the last tenth of the epochs against the second tenth.
Validation: time of `validate` per image, against the network alone on images in memory.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from lightning import Callback, LightningModule
from lightning import Trainer as LightningTrainer
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn
from torchvision.models import resnet18

from benchmarks import report
from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.pytorch_side import build
from src.classifier import Classifier
from src.data import CIFAR10, ImageDataModule, ImageSet, Shapes
from src.data.augment import RandomResizedCrop
from src.runtime.trainer import Trainer

INPUT = ("train_dataloader_next", "transfer_batch_to_device", "on_after_batch_transfer")
WARM_UP = 10  # steps


def data_of(recipe: str, data_dir: str) -> CIFAR10:
    augment = build(recipe)[1]
    return CIFAR10(data_dir, batch_size=BATCH, val_fraction=0.2, normalize="unit", augment=augment)


class LargeImages(ImageDataModule):
    """Noise of 256 pixels in 1,000 classes, one image each."""

    classes = tuple(f"{number:04}" for number in range(1000))
    mean, std = (0.5,) * 3, (0.25,) * 3

    def prepare_data(self) -> None:
        pass

    def read(self, subset: str) -> ImageSet:
        images_NHWC = torch.randint(0, 256, (self.num_classes, 256, 256, 3), dtype=torch.uint8)
        return ImageSet(images_NHWC, torch.arange(self.num_classes))


def large_images() -> LargeImages:
    return LargeImages(batch_size=32, val_fraction=0, augment=[RandomResizedCrop(224)])


def input_fraction(name: str, net: nn.Module, data: ImageDataModule, steps: int) -> list[object]:
    """Milliseconds per step, of its input, and the fraction."""
    profiler = SimpleProfiler()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_steps=WARM_UP + steps,
            limit_val_batches=0,
            default_root_dir=folder,
            profiler=profiler,
            enable_progress_bar=False,
        )
        trainer.fit(Classifier(net, num_classes=data.num_classes), datamodule=data, test_after_fit=False)

    def milliseconds(*names: str) -> float:
        durations = [took[WARM_UP:] for action, took in profiler.recorded_durations.items() if action.endswith(names)]
        assert durations, f"Lightning's profiler has no {names}"
        return 1000 * sum(statistics.median(took) for took in durations)

    inputs, batch = milliseconds(*INPUT), milliseconds("run_training_batch")
    return [name, f"{inputs + batch:.1f}", f"{inputs:.2f}", f"{100 * inputs / (inputs + batch):.1f} %"]


class EpochTimes(Callback):
    """Records the start of each epoch."""

    def __init__(self) -> None:
        self.started: list[float] = []

    def on_train_epoch_start(self, trainer: LightningTrainer, pl_module: LightningModule) -> None:
        self.started.append(time.perf_counter())


def long_logs(epochs: int) -> list[object]:
    """Milliseconds of an epoch of one step, with logs and checkpoint, early and late, and their ratio."""
    times = EpochTimes()
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
    took = [1000 * (after - before) for before, after in zip(times.started, times.started[1:], strict=False)]
    tenth = len(took) // 10
    early, late = statistics.median(took[tenth : 2 * tenth]), statistics.median(took[-tenth:])
    return [f"{epochs:,}", f"{megabytes:.1f} MB", f"{early:.2f}", f"{late:.2f}", late / early]


@torch.no_grad()
def validation(recipe: str, data_dir: str, rounds: int) -> list[object]:
    """Microseconds per image of `validate` and of the network alone, and their ratio."""
    model, data = Classifier(build(recipe)[0]), data_of(recipe, data_dir)
    seconds: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(default_root_dir=folder, logger=False, enable_progress_bar=False)

        def validate() -> None:
            trainer.validate(model, datamodule=data, verbose=False)

        def forward() -> None:
            model.net.eval()
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                for images_BCHW in images_NCHW.split(BATCH):
                    model.net(images_BCHW)

        def timed(work: Callable[[], None]) -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        validate()
        images_NHWC = data.image_set("train").images_NHWC[data.val_indices]
        images_NCHW = images_NHWC.permute(0, 3, 1, 2).to(model.device).float().div_(255)
        for number in range(rounds):
            order = (validate, forward) if number % 2 == 0 else (forward, validate)
            took = {work: timed(work) for work in order}
            seconds.append((took[validate], took[forward]))
    per_image = [1e6 * statistics.median(side) / len(images_NCHW) for side in zip(*seconds, strict=True)]
    return [recipe, *(f"{value:.0f}" for value in per_image), statistics.median(a / b for a, b in seconds)]


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="two recipes, 40 steps, 500 epochs, two rounds")
    arguments = parser.parse_args()
    recipes = SHORT if arguments.short else tuple(FITS)
    if arguments.short:
        arguments.steps, arguments.epochs, arguments.rounds = 40, 500, 2
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")

    inputs = [
        input_fraction(recipe, build(recipe)[0], data_of(recipe, arguments.data_dir), arguments.steps)
        for recipe in recipes
    ]
    inputs.append(input_fraction("ResNet-18, 224 pixels", resnet18(), large_images(), min(arguments.steps, 20)))
    logs = long_logs(arguments.epochs)
    validations = [validation(recipe, arguments.data_dir, arguments.rounds) for recipe in recipes]
    print(f"\n{report.table(['recipe', 'ms per step', 'input', 'fraction'], inputs)}")
    print(f"\n{report.table(['epochs of one step', 'logs', 'ms, second tenth', 'ms, last tenth', 'ratio'], [logs])}")
    print(f"\n{report.table(['validation of', 'us per image', 'network alone', 'ratio'], validations)}")
    print(f"\n{report.conditions()}")


if __name__ == "__main__":
    main()
