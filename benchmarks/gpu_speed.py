"""The speed of `fit` on a GPU, for `benchmarks.gpu`: each part prints its figures.

    python -m benchmarks.gpu_speed PART --data_dir DIR [--device cpu] [--short]

`fit` has all its default callbacks, and writes its run directory. What it is compared with runs in the same process, in
turns of one epoch; the first of each is not counted.

Shapes: N images, B of them in a batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from lightning import Callback
from torch import Tensor, nn
from torchvision.transforms import v2

from benchmarks import airbench, report
from benchmarks.notebooks import BATCH, FITS, SHORT
from benchmarks.pytorch_side import build
from benchmarks.turns import ratio
from src.classifier import Classifier
from src.data import CIFAR10, ImageDataModule, Shapes
from src.data.augment import Augmentation, Flip, Shift
from src.runtime.precision import native_precision
from src.runtime.trainer import Trainer

PLAIN = 0.95  # of the speed of a plain loop is claimed
Prepare = Callable[[Tensor, int], Tensor]


def figure(name: str, text: str, claim: bool | None = None) -> None:
    """Prints a row of the report."""
    print("figure " + json.dumps([name, "" if claim is None else "pass" if claim else "fail", text]), flush=True)


class Bench:
    """What the arguments say about a measurement."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.short, self.device = arguments.short, torch.device(arguments.device)
        self.warmup, self.rounds, self.steps = (0, 1, 2) if self.short else (1, 3, 50_000 // BATCH)
        self.data_dir, self.airbench = Path(arguments.data_dir), arguments.airbench
        self.precision: Any = native_precision(self.device.type)

    def data(self, batch_size: int, augment: list[Augmentation]) -> ImageDataModule:
        """CIFAR-10, or without it as many synthetic shapes as the steps need."""
        options: dict[str, Any] = {"batch_size": 16 if self.short else batch_size, "val_fraction": 0, "drop_last": True}
        options |= {"augment": augment, "normalize": "unit"}
        if (self.data_dir / airbench.CIFAR10_FOLDER).is_dir() and not self.short:
            return CIFAR10(str(self.data_dir), cache_dir=None, **options)
        return Shapes(self.steps * options["batch_size"], 10, **options)

    def resnet18_data(self) -> ImageDataModule:
        """Batches of 256, of which an epoch has half as many."""
        self.steps = min(self.steps, 50_000 // 256)
        return self.data(256, [Flip(), Shift(4)])

    def fit(self, model: Classifier, data: ImageDataModule, *callbacks: Callback) -> float:
        """The seconds of the second epoch of a fit."""
        clock = Clock(self)
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                max_epochs=3,
                limit_train_batches=self.steps,
                accelerator=self.device.type,
                devices=1,
                callbacks=[clock, *callbacks],
                default_root_dir=f"{folder}/run",
                enable_progress_bar=False,
            )
            trainer.fit(model, datamodule=data, test_after_fit=False)
        return clock.starts[2] - clock.starts[1]

    def loop(self, net: nn.Module, data: ImageDataModule, prepare: Prepare) -> Iterator[float]:
        """The seconds of each epoch of a plain loop, with the dataset on the device."""
        images_NHWC, labels_N = (one.to(self.device) for one in data.image_set("train"))
        net = net.to(device=self.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
        while True:
            started = self.now()
            order_N = torch.randperm(len(labels_N), device=self.device)
            for indices_B in order_N[: self.steps * data.batch_size].split(data.batch_size):
                images_BCHW = prepare(images_NHWC[indices_B].permute(0, 3, 1, 2), len(indices_B))
                self.step(net, optimizer, images_BCHW, labels_N[indices_B])
            yield self.now() - started

    def step(self, net: nn.Module, optimizer: torch.optim.Optimizer, images_BCHW: Tensor, labels_B: Tensor) -> None:
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            logits_BK = net(images_BCHW)
        loss = F.cross_entropy(logits_BK.float(), labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def compare(self, name: str, images: int, sides: dict[str, Callable[[], float]], claim: float | None) -> None:
        """Prints how fast the first side is relative to each other one."""
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(self.warmup + self.rounds):
            for side in list(sides) if number % 2 else reversed(sides):
                seconds[side].append(sides[side]())
        first, *others = seconds
        counted = {side: took[self.warmup :] for side, took in seconds.items()}
        rates = {side: images / statistics.median(took) for side, took in counted.items()}
        for other in others:
            times = ratio(counted[first], counted[other])
            text = f"{times:.2f} ({rates[first]:,.0f} and {rates[other]:,.0f} images/s)"
            figure(f"{name}: {first} / {other}", text, times >= claim if claim and not self.short else None)


class Clock(Callback):
    """Records the start of each epoch, which is after everything that is written about the one before it."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.starts = bench, []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.starts.append(self.bench.now())


def rmsprop(params: Any) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(params, lr=1e-3, alpha=0.9, eps=1e-7)


def notebooks(bench: Bench) -> None:
    """Each network of the notebooks against a plain loop with the same augmentation."""
    for recipe in SHORT[:1] if bench.short else FITS:
        net, augment = build(recipe)
        data = bench.data(BATCH, augment)

        def prepare(images_BCHW: Tensor, count: int, augment: list[Augmentation] = augment) -> Tensor:
            images_BCHW = images_BCHW.float().div_(255)
            for one in augment:
                images_BCHW = one(images_BCHW, torch.rand(count, one.num_uniforms, device=bench.device), 0)
            return images_BCHW

        model, loop = Classifier(build(recipe)[0], rmsprop), bench.loop(net, data, prepare)
        fit = {"fit": lambda model=model, data=data: bench.fit(model, data), "plain loop": lambda loop=loop: next(loop)}
        bench.compare(recipe, bench.steps * data.batch_size, fit, PLAIN)


def resnet() -> nn.Module:
    return torchvision.models.resnet18(num_classes=10)


def resnet18(bench: Bench) -> None:
    """ResNet-18 against torchvision's transforms of whole batches, and of single images in workers."""
    data = bench.resnet18_data()
    size = data.image_set("train").images_NHWC.shape[1]
    transform = v2.Compose(
        [v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True)]
    )
    workers = min(8, os.cpu_count() or 1)
    images_NHWC, labels_N = data.image_set("train")
    loader = torch.utils.data.DataLoader(
        ImageByImage(images_NHWC, labels_N, transform, bench.steps * data.batch_size),
        batch_size=data.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=bench.device.type == "cuda",
        persistent_workers=True,
    )
    net = resnet().to(device=bench.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer, model, loop = rmsprop(net.parameters()), Classifier(resnet(), rmsprop), None

    def from_workers() -> float:
        started = bench.now()
        for images_BCHW, labels_B in loader:
            on_device = (one.to(bench.device, non_blocking=True) for one in (images_BCHW, labels_B))
            bench.step(net, optimizer, *on_device)
        return bench.now() - started

    loop = bench.loop(resnet(), data, lambda images_BCHW, count: transform(images_BCHW))
    sides = {
        "fit": lambda: bench.fit(model, data),
        "torchvision's transforms of batches": lambda: next(loop),
        f"DataLoader with {workers} workers": from_workers,
    }
    bench.compare("ResNet-18", bench.steps * data.batch_size, sides, PLAIN)


class ImageByImage(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """A dataset that transforms single images."""

    def __init__(self, images_NHWC: Tensor, labels_N: Tensor, transform: nn.Module, length: int) -> None:
        self.images_NHWC, self.labels_N, self.transform, self.length = images_NHWC, labels_N, transform, length

    def __len__(self) -> int:
        return min(self.length, len(self.labels_N))

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images_NHWC[index].permute(2, 0, 1)), self.labels_N[index]


def pinned(bench: Bench) -> None:
    """A dataset that stays in the memory of the CPU against one on the device."""
    resident, fed = bench.resnet18_data(), bench.resnet18_data()
    model = Classifier(resnet(), rmsprop)

    def fit_fed() -> float:
        found, torch.accelerator.get_memory_info = torch.accelerator.get_memory_info, lambda device: (0, 0)
        try:
            return bench.fit(model, fed)
        finally:
            torch.accelerator.get_memory_info = found

    sides = {"fed from pinned memory": fit_fed, "on the device": lambda: bench.fit(model, resident)}
    bench.compare("dataset of ResNet-18", bench.steps * fed.batch_size, sides, PLAIN)


def idle(bench: Bench) -> None:
    """The fraction of a step in which no kernel runs, from the profiler's events of 20 steps."""
    if bench.device.type != "cuda":
        return figure("idle", "only on a GPU")
    deep, augment = build("003_second")
    fits = {"003_second": (deep, bench.data(BATCH, augment)), "ResNet-18": (resnet(), bench.resnet18_data())}
    for name, (net, data) in fits.items():
        profile = Profile()
        bench.fit(Classifier(net, rmsprop), data, profile)
        busy, window = profile.busy()
        figure(f"{name}: GPU idle", f"{100 * (1 - busy / window):.0f} % of {window / 20:.2f} ms per step")


class Profile(Callback):
    """Profiles 20 steps of the second epoch."""

    def __init__(self) -> None:
        self.profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1 and batch_idx in (10, 30):
            torch.cuda.synchronize()
            self.profiler.start() if batch_idx == 10 else self.profiler.stop()

    def busy(self) -> tuple[float, float]:
        """Milliseconds in which a kernel or a copy ran, and from the start of the first to the end of the last."""
        events = [one for one in self.profiler.events() or [] if one.device_type.name == "CUDA"]
        ranges = sorted((one.time_range.start, one.time_range.end) for one in events)
        busy, until = 0.0, ranges[0][0]
        for start, end in ranges:
            busy, until = busy + max(0.0, end - max(start, until)), max(until, end)
        return busy / 1000, (until - ranges[0][0]) / 1000


def compile(bench: Bench) -> None:
    """`model.compile` where steps are short."""
    if bench.device.type != "cuda":
        return figure("compile", "only on a GPU")
    data = bench.data(BATCH, build("003_second")[1])
    models = [Classifier(build("003_second")[0], rmsprop, compile=compiles) for compiles in (True, False)]
    sides = {name: lambda one=one: bench.fit(one, data) for name, one in zip(("compiled", "not"), models, strict=True)}
    bench.compare("003_second", bench.steps * data.batch_size, sides, None)


def speed94(bench: Bench) -> None:
    """Time to 94 %, of `fit` and of airbench94_muon.py."""
    data_dir = bench.data_dir.resolve()
    if bench.device.type != "cuda" or not (data_dir / airbench.CIFAR10_FOLDER).is_dir():
        return figure("speed94", "only on a GPU, with CIFAR-10")
    own = airbench.run_fit(0, data_dir)
    text = f"{own.seconds:.1f} s to {100 * own.accuracy:.2f} %, {own.compiling:.1f} s for the first step"
    if not bench.airbench:
        return figure("speed94", f"{text}; without --airbench it is not compared")
    theirs = airbench.run_airbench(Path(bench.airbench), data_dir)
    times = own.seconds / theirs.seconds
    text += f"; airbench {theirs.seconds:.1f} s to {100 * theirs.accuracy:.2f} %"
    figure("speed94: seconds of fit / airbench", f"{times:.2f} ({text})", times <= airbench.ALLOWED)


PARTS = {one.__name__: one for one in (notebooks, resnet18, speed94, pinned, idle, compile)}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--short", action="store_true", help="two steps, one round")
    parser.add_argument("--airbench", help="your copy of airbench94_muon.py")
    arguments = parser.parse_args()
    PARTS[arguments.part](Bench(arguments))


if __name__ == "__main__":
    main()
