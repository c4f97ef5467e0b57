"""Seconds per epoch of training on a folder of JPEG files: ImageFolder against torchvision's with a DataLoader.

    python -m benchmarks.photographs [--images 2000] [--size 64] [--workers 2] [--epochs 3]

Writes JPEG files of 500 x 375 pixels in ten classes to a temporary folder. Both sides train ResNet-18 with SGD in
float32 at the same size and batch size, with horizontal flips: one with `src.data.ImageFolder` and the trainer of this
project, without validation, the other in a plain loop with torchvision's transforms in worker processes. The first
epoch includes reading the folder, and on this project's side decoding it into the cache.
"""

from __future__ import annotations

import argparse
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
from torchvision.models import resnet18
from torchvision.transforms import v2

from benchmarks import report
from src.classifier import Classifier
from src.data import ImageFolder
from src.data.augment import Flip
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
    transform = v2.Compose([v2.Resize(size), v2.CenterCrop(size), v2.RandomHorizontalFlip(), v2.ToImage()])
    scaled = v2.Compose([transform, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    loader = DataLoader(
        datasets.ImageFolder(str(folder), scaled),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 2000, "size": 64, "workers": 2, "epochs": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        write_images(folder, args.images)
        sides = {
            f"torchvision, {args.workers} workers": torchvision_side(folder, args.size, args.epochs, args.workers),
            "ImageFolder": ours(folder, args.size, args.epochs, Path(temporary) / "cache"),
        }
    rows = [[name, f"{first:.1f} s", f"{min(later):.1f} s"] for name, (first, *later) in sides.items()]
    print(f"{args.images:,} JPEG files of 500 x 375 pixels, ResNet-18 at {args.size} pixels")
    print(report.table(["", "first epoch", "fastest later epoch"], rows))
    print(report.conditions())


if __name__ == "__main__":
    main()
