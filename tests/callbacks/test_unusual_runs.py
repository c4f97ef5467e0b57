"""Every callback on data and networks of which dashboards have less to show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import LightningModule
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from src.data import ImageSet
from src.data.batch import Batch
from src.models import SimpleCNN
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.run_checkpoints import RunCheckpoints
from tests.conftest import TINY_WITH_IMAGES
from tests.processes import finish
from tests.toys import Linear, Squares, classifier, trainer


class Unusual(Squares):
    """Squares with other classes, labels or channels."""

    def __init__(self, num_classes: int = 3, labels: tuple[int, ...] = (0, 1, 2), channels: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.classes = tuple(f"class {number}" for number in range(num_classes))
        self.labels, self.channels = labels, channels
        self.mean = self.std = (0.3,) * channels

    def read(self, subset: str) -> ImageSet:
        images_NHWC, _ = super().read(subset)
        labels_N = torch.arange(self.size) % 3
        if subset == "test":
            labels_N = torch.tensor(self.labels).repeat(self.size)[: self.size]
        return ImageSet(images_NHWC[..., :1].expand(-1, -1, -1, self.channels), labels_N)


TESTED = {"confusion_matrix", "reliability", "classes", "mistakes", "mistakes_why", "highest_loss", "lowest_loss"}


def shown(directory: Path) -> set[str]:
    names = EventAccumulator(str(directory), {"images": 0}).Reload().Tags()["images"]
    return {name.removeprefix("view_test/") for name in names if name.startswith("view_test/")}


@pytest.mark.parametrize(
    ("data", "net"),
    [
        (Unusual(labels=(0, 2)), SimpleCNN(3, 4)),
        (Unusual(labels=(1,)), SimpleCNN(3, 4)),
        (Unusual(num_classes=1000), SimpleCNN(1000, 4)),
        (Unusual(channels=1), SimpleCNN(3, 4, channels=1)),
        (Unusual(channels=4), SimpleCNN(3, 4, channels=4)),
        (Unusual(), Linear()),
        (Unusual(val_fraction=0), SimpleCNN(3, 4)),
        (Unusual(size=7), SimpleCNN(3, 4)),
    ],
    ids=["a class without samples", "one class", "1000 classes", "gray", "4 channels", "linear", "no val", "7 images"],
)
def test_each_image_is_shown_or_says_what_is_missing(data: Squares, net: nn.Module, tmp_path: Path) -> None:
    model = classifier(net=net, num_classes=data.num_classes)
    default = DefaultCallbacks(report=None)  # it has its own tests of these
    trainer(tmp_path, logger=True, log_every_n_steps=1, default_callbacks=default).fit(model, datamodule=data)
    assert shown(tmp_path) == TESTED


class OwnModule(LightningModule):
    """A LightningModule without `net`, `config`, metrics or outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Linear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.layer(batch.images_BCHW), batch.labels_B)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val/loss", self.training_step(batch, batch_idx), batch_size=batch.size)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("test/loss", self.training_step(batch, batch_idx), batch_size=batch.size)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_module_of_ones_own_needs_none_of_the_attributes(tmp_path: Path) -> None:
    default = DefaultCallbacks(checkpoints=RunCheckpoints("val/loss", "min"))
    fitted = trainer(tmp_path, logger=True, log_every_n_steps=1, default_callbacks=default)
    fitted.fit(OwnModule(), datamodule=Squares())
    assert shown(tmp_path) == set()
    assert len(EventAccumulator(str(tmp_path)).Reload().Scalars("watch/gradient_norm")) == 4


@pytest.mark.slow
def test_two_ranks_show_what_one_shows(tmp_path: Path) -> None:
    finish(
        *(*TINY_WITH_IMAGES, "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.log_every_n_steps=1"),
        f"--trainer.default_root_dir={tmp_path / 'run'}",
    )
    assert shown(tmp_path / "run") == TESTED
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [scalar.step for scalar in events.Scalars("watch/gradient_norm")] == [0, 1, 2, 3]
