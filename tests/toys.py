"""A tiny dataset, network, model and trainer for tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from src.classifier import Classifier
from src.data import ImageDataModule, ImageSet
from src.runtime.checkpoint_file import read
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.trainer import Trainer
from tests.conftest import IMAGES


class Squares(ImageDataModule):
    """Images of 4 x 4 pixels in three classes, with one bright channel each. By default 24 are for training, in 4
    batches per epoch, and 6 for validation."""

    classes = ("red", "green", "blue")
    mean = (0.3, 0.3, 0.3)
    std = (0.3, 0.3, 0.3)

    def __init__(self, size: int = 30, **kwargs: Any) -> None:
        super().__init__(**{"batch_size": 6, "val_fraction": 0.2, **kwargs})
        self.size = size

    def read(self, subset: str) -> ImageSet:
        labels_N = torch.arange(self.size) % 3
        noise_NHWC = torch.rand(self.size, 4, 4, 3, generator=torch.Generator().manual_seed(len(subset)))
        bright_NC = nn.functional.one_hot(labels_N, 3)
        images_NHWC = 120 * noise_NHWC + 100 * bright_NC[:, None, None, :]
        return ImageSet(images_NHWC.to(torch.uint8), labels_N)


class Attributes(Squares):
    """The same size of images, each of which has any number of the three classes: those of its bright channels."""

    multi_label = True

    def read(self, subset: str) -> ImageSet:
        generator = torch.Generator().manual_seed(len(subset))
        labels_NK = torch.randint(2, (self.size, 3), generator=generator)
        noise_NHWC = torch.rand(self.size, 4, 4, 3, generator=generator)
        return ImageSet((120 * noise_NHWC + 100 * labels_NK[:, None, None, :]).to(torch.uint8), labels_NK)


class Linear(nn.Module):
    """One linear layer."""

    def __init__(self, num_classes: int = 3, inputs: int = 48) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.layer(images_BCHW.flatten(1))


class NormalizedLinear(nn.Sequential):
    """Batch norm before the linear layer."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__(nn.BatchNorm2d(3), Linear(num_classes))


class Interrupted(Exception):
    """Raised by `interrupt`."""


def interrupt() -> None:
    """Ends a run at once, as a kill does."""
    raise Interrupted


class CallAt(Callback):
    """Calls `action` when Lightning calls `hook` for the nth time, counted from 0."""

    def __init__(self, hook: str, nth: int, action: Callable[[], Any] = interrupt) -> None:
        calls = iter(range(nth + 1))

        def count(*args: Any, **kwargs: Any) -> None:
            if next(calls, None) == nth:
                action()

        setattr(self, hook, count)


class SendInTest(Callback):
    """Sends this process a signal when the test begins."""

    def __init__(self, number: int) -> None:
        self.number = number

    def on_test_batch_start(self, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), self.number)


class SaveTestSamples(TestSamplesCallback):
    """Writes the samples of a test into the run directory."""

    def on_test_samples(self, trainer: lightning.Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        torch.save(samples._asdict(), Path(trainer.default_root_dir) / "samples.pt")


class LateRank(Callback):
    """Delays each step of every rank but the first by 0.3 seconds."""

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        time.sleep(0.3 * (trainer.global_rank > 0))


def classifier(**kwargs: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(**{"net": Linear(), "num_classes": 3, **kwargs})


def trainer(directory: Path, every_n_steps: int | None = None, images: bool = True, **kwargs: Any) -> Trainer:
    """A trainer of one epoch without a report; `every_n_steps` is that of last.ckpt. With a logger, what draws images
    takes a second."""
    without: dict[str, Any] = dict.fromkeys(["report", *([] if images else IMAGES)])
    defaults = {
        "default_callbacks": DefaultCallbacks(**without, checkpoints=RunCheckpoints(every_n_steps=every_n_steps)),
        "max_epochs": 1,
        "precision": "32-true",
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
    }
    return Trainer(default_root_dir=str(directory), **{**defaults, **kwargs})


def fit(
    directory: Path,
    model: Classifier | None = None,
    data: ImageDataModule | None = None,
    resume: bool = False,
    test: bool = False,
    **kwargs: Any,
) -> Trainer:
    """Fits, or resumes the fit, in a run directory; `kwargs` are the trainer's."""
    fitted = trainer(directory, **kwargs)
    fitted.fit(
        model or classifier(),
        datamodule=data or Squares(),
        resume=str(directory) if resume else None,
        test_after_fit=test,
    )
    return fitted


def last_checkpoint(directory: Path) -> dict[str, Any]:
    return read(directory / "checkpoints" / "last.ckpt")


Scalars = dict[str, list[tuple[int, float]]]


def logged_scalars(directory: Path, prefixes: tuple[str, ...] = ("train/", "val/")) -> Scalars:
    """The step and value of each scalar, by default of training and validation. Renames the event files in the order
    in which they were written, since TensorBoard reads those of the same second in any order."""
    files = sorted(directory.glob("events.*"), key=lambda path: [int(x) for x in path.name.split(".") if x.isdigit()])
    for number, path in enumerate(files):
        path.rename(directory / f"events.out.tfevents.{number:010}")
    events = EventAccumulator(str(directory), {"scalars": 0}).Reload()
    names = [name for name in events.Tags()["scalars"] if name.startswith(prefixes)]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}
