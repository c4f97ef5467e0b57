"""Checks of a configuration, with one that passes and one that fails."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import OneCycleLR

from src.cli.doctor import training
from src.cli.doctor.finding import Note
from src.data.datamodule import Preparation
from src.errors import UserError
from tests.toys import Linear, Squares, classifier, trainer


def test_a_dataset_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert training.dataset(Squares()) == "Squares: 30 + 30 images of 4 x 4 x 3, 3 classes, intact"
    monkeypatch.setattr(Squares, "has_test", False)
    assert training.dataset(Squares()) == "Squares: 30 images of 4 x 4 x 3, 3 classes, intact"


def test_a_dataset_that_has_to_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Preparation("fetch them", Path("data"), 5)
    monkeypatch.setattr(Squares, "pending_preparation", lambda self: missing)
    found = training.dataset(Squares())
    assert found == "Squares is not there yet; fit will first fetch them" and isinstance(found, Note)


def test_dataset_bytes_are_images_and_labels() -> None:
    assert training.dataset_bytes(Squares(size=30)) == 2 * 30 * (4 * 4 * 3 + 8)  # uint8 and int64


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "text"),
    [
        (6, False, "24 training images in batches of 6: 4 steps per epoch, 3 images per process"),
        (10, True, "24 training images in batches of 10: 2 steps per epoch, 5 images per process"),
        (7, False, "batch_size 7"),
        (26, True, "24 training images in batches of 26: 0 steps per epoch; lower data.batch_size"),
    ],
)
def test_batches(batch_size: int, drop_last: bool, text: str) -> None:
    data = Squares(batch_size=batch_size, drop_last=drop_last)
    data.setup("fit")
    if text.endswith("per process"):
        assert training.batches(data, world_size=2) == text
    else:
        with pytest.raises(UserError, match=text):
            training.batches(data, world_size=2)


def test_network(tmp_path: Path) -> None:
    data, model = Squares(), classifier()
    data.setup("fit")
    found = training.network(trainer(tmp_path), model, data, world_size=1)
    assert found == "Linear, 147 parameters: (2, 3, 4, 4) to (2, 3)"
    model.net = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="returns"):
        training.network(trainer(tmp_path), model, data, world_size=1)


def test_schedule(tmp_path: Path) -> None:
    data, one_cycle = Squares(), partial(OneCycleLR, max_lr=0.1, total_steps=4)
    data.setup("fit")
    assert training.schedule(trainer(tmp_path), classifier(), data) == "constant learning rate"
    model = classifier(optimizer=partial(torch.optim.SGD, lr=0.1), lr_scheduler=one_cycle)
    assert training.schedule(trainer(tmp_path), model, data) == "OneCycleLR"
    with pytest.raises(UserError, match="fails at step 5 of 8"):
        training.schedule(trainer(tmp_path, max_epochs=2), model, data)
    assert training.schedule(trainer(tmp_path, max_epochs=2, limit_train_batches=0.5), model, data) == "OneCycleLR"
    with pytest.raises(UserError, match="did you mean val/loss"):
        training.schedule(trainer(tmp_path, callbacks=[EarlyStopping("val_loss")]), model, data)


def test_channels_last_is_compared_with_contiguous() -> None:
    class Wrong(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 2)

        def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
            wrong = 0.9 if not images_BCHW.is_contiguous() else 1.0
            output_BK = self.conv(images_BCHW).mean((2, 3))
            return output_BK + (wrong - 1) * (output_BK - output_BK.detach())  # the gradient alone is wrong

    assert "equal" in training.memory_format(
        classifier(net=torch.nn.Sequential(torch.nn.Dropout(), Linear())), Squares()
    )
    with pytest.raises(UserError, match=r"the gradient of conv\.weight differs between channels-last and contiguous"):
        training.memory_format(classifier(net=Wrong()), Squares())


@pytest.mark.parametrize(("optimizer", "states"), [(torch.optim.SGD, 0), (torch.optim.Adam, 2), (torch.optim.LBFGS, 0)])
def test_optimizer_bytes_are_its_state_after_a_step(optimizer: type, states: int) -> None:
    found = training.optimizer_bytes(classifier(optimizer=lambda params: optimizer(params, lr=0.1)))
    # Adam also counts its steps, in four bytes for each of weight and bias.
    assert states * 588 <= found <= states * 588 + 8


def test_an_optimizer_that_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        training.optimizer(classifier(optimizer=lambda params: torch.optim.SGD(params, lr=-1)))


def test_disk_for_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = []
    monkeypatch.setattr(training.machine, "disk", lambda folder, count, purpose: needed.append((count, purpose)))
    model = classifier(optimizer=torch.optim.SGD)  # 147 parameters and no state
    training.checkpoint_disk(model, tmp_path, averaged=False)
    training.checkpoint_disk(model, tmp_path, averaged=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").touch()
    training.checkpoint_disk(model, tmp_path, averaged=False)
    assert needed == [(4 * 588, "4 checkpoints"), (8 * 588, "4 checkpoints"), (3 * 588, "3 checkpoints")]
