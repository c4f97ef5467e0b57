"""Parts in a file of the user's own, in a folder that also has a package `src`: trained by two processes, and resumed
and exported from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PARTS = """
import torch
from lightning import Callback
from torch import nn
from torchmetrics.classification import MulticlassAccuracy

from src.data import ImageDataModule, ImageSet
from src.data.augment import Augmentation


class Stripes(ImageDataModule):
    classes, mean, std = ("dark", "bright"), (0.5,), (0.3,)

    def read(self, subset):
        labels_N = torch.arange(40) % 2
        return ImageSet((90 * labels_N[:, None, None, None] + torch.ones(40, 6, 6, 1)).to(torch.uint8), labels_N)


class Darker(Augmentation):
    num_uniforms = 1

    def __call__(self, images_BCHW, uniform_BK, epoch):
        return images_BCHW * (0.5 + 0.5 * uniform_BK[:, 0, None, None, None])


class Net(nn.Sequential):
    def __init__(self, num_classes: int = 10):
        super().__init__(nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, num_classes))


class SlowSGD(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.01):
        super().__init__(params, lr=0.1 * lr)


class Steps(torch.optim.lr_scheduler.LambdaLR):
    def __init__(self, optimizer, factor: float = 0.5):
        super().__init__(optimizer, lambda epoch: factor**epoch)


class SquaredError(nn.Module):
    def forward(self, logits_BK, labels_B):
        return (logits_BK.softmax(1) - nn.functional.one_hot(labels_B, logits_BK.shape[1])).square().mean(1)


class ErrorRate(MulticlassAccuracy):
    def compute(self):
        return 1 - super().compute()


class CountSteps(Callback):
    def __init__(self):
        self.steps = 0

    def on_train_batch_end(self, *args):
        self.steps += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict["steps"]
"""

RECIPE = """
data:
  class_path: parts.Stripes
  init_args: {batch_size: 8, augment: [{class_path: parts.Darker}]}
model:
  net: {class_path: parts.Net}
  optimizer: {class_path: parts.SlowSGD, init_args: {lr: 0.1}}
  lr_scheduler: {class_path: parts.Steps, init_args: {factor: 0.9}}
  loss: parts.SquaredError
  metrics: {errors: parts.ErrorRate}
trainer:
  max_epochs: 2
  accelerator: cpu
  devices: 2
  strategy: ddp
  precision: 32-true
  logger: false
  enable_progress_bar: false
  callbacks: [{class_path: parts.CountSteps}]
  default_callbacks: {report: null, preview: null, confusion_matrix: null}
"""


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, str(ROOT / "src"), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def last(directory: Path) -> dict[str, Any]:
    return torch.load(directory / "checkpoints/last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of two epochs with four steps each."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "src").mkdir()
    (folder / "src/__init__.py").touch()
    (folder / "parts.py").write_text(PARTS)
    (folder / "mine.yaml").write_text(RECIPE)
    run(folder, "fit", "--config", "mine.yaml")
    (directory,) = folder.glob("logs/mine/*")
    return directory


def test_trains_each_part_on_two_ranks(trained: Path) -> None:
    tested = json.loads((trained / "results.json").read_text())["test"]
    assert tested["test/errors"] == pytest.approx(1 - tested["test/acc"])
    states = last(trained)["callbacks"].values()
    assert {"steps": 8} in states
    manifest = json.loads((trained / "manifest.json").read_text())
    assert manifest["module_folders"] == [str(trained.parents[2])]


def test_resumes_from_another_folder_bit_identical(trained: Path, tmp_path: Path) -> None:
    directory = tmp_path / "stopped"
    stopped = ["--trainer.default_root_dir", str(directory), "--trainer.max_steps=6"]
    run(trained.parents[2], "fit", "--config", "mine.yaml", *stopped)
    assert {"steps": 6} in last(directory)["callbacks"].values()
    run(tmp_path, "fit", "--resume", "stopped", "--trainer.max_steps=-1")
    assert {"steps": 8} in last(directory)["callbacks"].values()
    expected, resumed = last(trained)["state_dict"], last(directory)["state_dict"]
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


def test_exports_from_another_folder(trained: Path, tmp_path: Path) -> None:
    for value in (1, 91):
        Image.new("L", (6, 6), value).save(tmp_path / f"{value}.png")
    assert "2 of 2 images have the same class" in run(
        tmp_path, "export", "--run", str(trained), "--format", "torch-export", str(tmp_path)
    )
    program = torch.export.load(trained / "export/model.pt2").module()
    assert program(torch.ones(3, 6, 6, 3, dtype=torch.uint8)).shape == (3, 2)
