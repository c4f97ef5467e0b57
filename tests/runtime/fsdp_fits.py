"""Fits by DDP and by FSDP in one start of two processes: `torchrun --nproc_per_node 2 -m tests.runtime.fsdp_fits
FOLDER`. test_fsdp.py compares what they leave."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from src.callbacks.ema import EMA
from src.classifier import Classifier
from src.errors import UserError
from src.optim import Muon
from src.runtime import job_directory
from src.runtime.fsdp import FSDP
from tests.toys import CallAt, Interrupted, Squares, fit

# 27 are for training: the last batch has three, which two processes share unevenly.
SIZE = 34


class Net(nn.Sequential):
    """Sizes that do not divide by two, batch norm and dropout."""

    def __init__(self) -> None:
        # A bias before batch norm would have gradients of rounding alone, which Adam scales to a step.
        first = nn.Conv2d(3, 7, 3, padding=1, bias=False)
        convs = nn.Sequential(first, nn.BatchNorm2d(7), nn.ReLU(), nn.Conv2d(7, 9, 3))
        super().__init__(convs, nn.Flatten(), nn.Linear(36, 33), nn.ReLU(), nn.Dropout(0.2), nn.Linear(33, 3))


class DataNet(Net):
    """Computes its first weights from images."""

    def init_from_data(self, images_BCHW: Tensor) -> None:
        first = self.get_submodule("0.0")
        assert isinstance(first, nn.Conv2d)
        with torch.no_grad():
            first.weight.copy_(torch.full((7, 3, 3, 3), 0.1) * images_BCHW.std() * torch.arange(7).view(7, 1, 1, 1))


CASES: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
    "plain": lambda: ({}, {}),
    "clip": lambda: ({}, {"gradient_clip_val": 0.05}),
    "bf16": lambda: ({}, {"precision": "bf16-mixed"}),
    "accumulate": lambda: ({"optimizer": lambda p: torch.optim.SGD(p, 0.05, 0.9)}, {"accumulate_grad_batches": 3}),
    "ema": lambda: ({}, {"callbacks": EMA(decay=0.9)}),
    "data": lambda: ({"net": DataNet()}, {}),
    "muon": lambda: ({"optimizer": lambda p: Muon(p, lr=0.01, head_lr=0.01, bias_lr=0.1)}, {}),
}
REFUSED: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any]]]] = {
    "LBFGS": lambda: ({"optimizer": lambda p: torch.optim.LBFGS(p), "channels_last": False}, {}),
    "Adafactor": lambda: ({"optimizer": lambda p: torch.optim.Adafactor(p)}, {}),
    "EMAWeightAveraging": lambda: ({}, {"callbacks": EMAWeightAveraging()}),
    "model.compile": lambda: ({"compile": True}, {}),
}


def run(directory: Path, model: dict[str, Any], trainer: dict[str, Any], strategy: Any = None, **kwargs: Any) -> None:
    os.environ.pop(job_directory._DIRECTORY, None)  # a process has one run, unless a test starts several
    arguments = {"devices": 2, "max_epochs": 2, "strategy": strategy or FSDP(min_parameters=300), **trainer, **kwargs}
    fit(directory, Classifier(**{"num_classes": 3, **model}), Squares(size=SIZE), **arguments)


def models(build: Callable[[], tuple[dict[str, Any], dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a case, with the same initial weights each time."""
    torch.manual_seed(0)
    model, trainer = build()
    return {"net": Net(), **model}, trainer


def main(folder: Path) -> None:
    for name, build in CASES.items():
        run(folder / "ddp" / name, *models(build), strategy="ddp", test=True)
        run(folder / "fsdp" / name, *models(build), test=True)
    model, trainer = models(CASES["ema"])
    stop = [trainer["callbacks"], CallAt("on_train_batch_start", 6)]  # in the middle of the second epoch
    try:
        run(folder / "resumed", model, {"callbacks": stop}, every_n_steps=1)
    except Interrupted:
        run(folder / "resumed", *models(CASES["ema"]), resume=True)
    for name, build in REFUSED.items():
        try:
            run(folder / "refused", *models(build))
        except UserError as error:
            (folder / f"{name}.txt").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
