"""Training and prediction on a folder of JPEG files: ImageFolder and `predict` against torchvision with a DataLoader.

    python -m benchmarks.photographs [--data_dir DIR] [--images 2000] [--size 64] [--workers 2] [--epochs 3]

DIR has one folder for each of at most ten classes; without it, writes JPEG files of 500 x 375 pixels. Both sides train
ResNet-18 with SGD in float32 at the same size and batch size, with horizontal flips: one with `src.data.ImageFolder`
and the trainer of this project, without validation, the other in a plain loop with torchvision's transforms in worker
processes. The first epoch includes reading the folder, and on this project's side decoding it into the cache.

Then both sides predict the same files with such a network: `predict` as on the command line, once it has loaded a run,
and a loop of Pillow, torchvision's transforms and the network, which writes a CSV file, too.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets
from torchvision.models import ResNet, resnet18
from torchvision.transforms import v2

from benchmarks import report
from src.classifier import Classifier
from src.data import ImageFolder
from src.data.augment import Flip
from src.data.image_spec import ImageSpec
from src.data.storage.decode import MAX_PIXELS
from src.inference.image_classifier import ImageClassifier
from src.inference.image_paths import image_paths
from src.inference.prediction import predict
from src.runtime import trainer
from src.runtime.default_callbacks import DefaultCallbacks

BATCH, CLASSES = 64, 10
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def write_images(folder: Path, count: int) -> None:
    """Smooth noise, whose JPEG files are about as large as those of photographs."""
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(generator.integers(0, 256, (75, 100, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


class EpochTimes(Callback):
    """Seconds of each epoch; the first from `start`."""

    def __init__(self, start: float) -> None:
        self.times = [start]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        return np.diff(self.times).tolist()


def ours(folder: Path, size: int, epochs: int, cache: Path) -> list[float]:
    """Seconds of each epoch with ImageFolder."""
    times = EpochTimes(time.perf_counter())
    data = ImageFolder(
        str(folder),
        image_size=size,
        batch_size=BATCH,
        val_fraction=0.0,
        test_fraction=0.0,
        cache_dir=str(cache),
        augment=[Flip()],
    )
    model = Classifier(resnet18(num_classes=CLASSES), optimizer=lambda params: torch.optim.SGD(params, lr=0.01))
    fitting = trainer.Trainer(
        max_epochs=epochs,
        precision="32-true",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[times],
        default_callbacks=DefaultCallbacks(preview=None),
        default_root_dir=str(cache / "run"),
    )
    fitting.fit(model, datamodule=data, test_after_fit=False)
    return times.seconds


def torchvision_side(folder: Path, size: int, epochs: int, workers: int) -> list[float]:
    """The same with torchvision's ImageFolder, a DataLoader and a plain loop."""
    times = [time.perf_counter()]
    loader = DataLoader(
        datasets.ImageFolder(str(folder), v2.Compose([_resized(size), v2.RandomHorizontalFlip(), _normalized()])),
        BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = resnet18(num_classes=CLASSES).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(epochs):
        for images_BCHW, labels_B in loader:
            optimizer.zero_grad()
            images_BCHW = images_BCHW.to(device, memory_format=torch.channels_last)
            F.cross_entropy(net(images_BCHW), labels_B.to(device)).backward()
            optimizer.step()
        times.append(time.perf_counter())
    return np.diff(times).tolist()


def _resized(size: int) -> v2.Transform:
    return v2.Compose([v2.Resize(size), v2.CenterCrop(size)])


def _normalized() -> v2.Transform:
    return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def _network() -> ResNet:
    return resnet18(num_classes=CLASSES).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]


def predict_side(folder: Path, size: int, workers: int, output: Path) -> float:
    """Images/s of the subcommand `predict`, including the start of its processes."""
    spec = ImageSpec(tuple(map(str, range(CLASSES))), MEAN, STD, (size, size), channels=3)
    classifier = ImageClassifier(_network(), spec)
    start, paths = time.perf_counter(), image_paths([str(folder)])
    options = {"batch_size": BATCH, "num_workers": workers, "max_pixels": MAX_PIXELS}
    counts = predict(paths, classifier.of_resized, spec, output, **options)
    return counts.predicted / (time.perf_counter() - start)


def plain_side(folder: Path, size: int, workers: int, output: Path) -> float:
    """Images/s of a plain loop, with the class and the probability of each file."""
    net, start = _network(), time.perf_counter()
    dataset = datasets.ImageFolder(str(folder), v2.Compose([_resized(size), _normalized()]))
    paths = iter(dataset.samples)
    with torch.inference_mode(), output.open("w", newline="") as file:
        writer = csv.writer(file)
        for images_BCHW, _ in DataLoader(dataset, BATCH, num_workers=workers):
            probabilities_BK = net(images_BCHW.to(memory_format=torch.channels_last)).softmax(-1)
            best = zip(*(one.tolist() for one in probabilities_BK.max(-1)), strict=True)
            writer.writerows([path, number, p] for (p, number), (path, _) in zip(best, paths, strict=False))
    return len(dataset) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help="a folder of photographs, in place of synthetic ones")
    for name, default in {"images": 2000, "size": 64, "workers": 2, "epochs": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, output = args.data_dir or Path(temporary) / "images", Path(temporary) / "predictions.csv"
        if not args.data_dir:
            write_images(folder, args.images)
        sides = {
            f"torchvision, {args.workers} workers": torchvision_side(folder, args.size, args.epochs, args.workers),
            "ImageFolder": ours(folder, args.size, args.epochs, Path(temporary) / "cache"),
        }
        rates = [
            [name, *(f"{side(folder, args.size, workers, output):,.0f}" for workers in (0, args.workers))]
            for name, side in {"plain loop": plain_side, "predict": predict_side}.items()
        ]
        count = sum(1 for _ in image_paths([str(folder)]))
    rows = [[name, f"{first:.1f} s", f"{min(later):.1f} s"] for name, (first, *later) in sides.items()]
    print(report.table(["training", "first epoch", "fastest later epoch"], rows))
    print()
    print(report.table(["images/s of prediction", "one process", f"{args.workers} workers"], rates))
    kind = "photographs" if args.data_dir else "JPEG files of 500 x 375 pixels"
    load = f"load average {os.getloadavg()[0]:.1f}, of which this benchmark is up to {args.workers + 1}"
    print(f"\n{count:,} {kind}, ResNet-18 at {args.size} pixels; {load}. {report.conditions()}")


if __name__ == "__main__":
    main()
