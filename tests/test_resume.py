"""An interrupted run ends as the uninterrupted one: weights, optimizer, metrics and curves, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from src.augment import Flip, Shift
from src.classifier import Classifier
from src.nets.dropout import Dropout
from src.schedule import WarmupDecay
from tests.toys import Squares, trainer

EPOCHS, STEPS = 3, 4  # an epoch: 24 pictures in batches of 6


class Death(Exception):
    """Ends a run at once."""


class DieAt(Callback):
    """Raises at a hook, the nth time that it is called."""

    def __init__(self, hook: str, time: int) -> None:
        calls = iter(range(time + 1))

        def die(*args: Any, **kwargs: Any) -> None:
            if next(calls, None) == time:
                raise Death

        setattr(self, hook, die)


def fit(directory: Path, *callbacks: Callback, resume: bool = False) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Dropout(0.25), nn.Flatten(), nn.Linear(16, 3))
    model = Classifier(
        net,
        num_classes=3,
        optimizer=lambda params: torch.optim.AdamW(params, lr=0.01),
        lr_scheduler=lambda optimizer: WarmupDecay(optimizer, warmup=0.3),
    )
    data = Squares(augment=[Flip(), Shift(1)], seed=3)
    (directory / "config.yaml").parent.mkdir(exist_ok=True)
    (directory / "config.yaml").touch()
    fitted = trainer(
        directory,
        max_epochs=EPOCHS,
        logger=True,
        log_every_n_steps=1,
        checkpoint_every_n_steps=1,
        callbacks=list(callbacks),
    )
    fitted.fit(model, datamodule=data, resume=str(directory) if resume else None)


def outcome(directory: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    """The last checkpoint and the curves."""
    saved = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    board = EventAccumulator(str(directory), {"scalars": 0}).Reload()
    # The test draws its points into a file of its own, and files of one second come in no certain order.
    names = [name for name in board.Tags()["scalars"] if name.startswith(("train/", "val/", "lr-"))]
    return saved, {name: [(point.step, point.value) for point in board.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, list[tuple[int, float]]]]:
    directory = tmp_path_factory.mktemp("whole")
    fit(directory)
    return outcome(directory)


PLACES = [
    *(("on_train_batch_end", number) for number in range(1, EPOCHS * STEPS)),
    *(("on_train_batch_start", number) for number in range(2, EPOCHS * STEPS)),
    *((hook, number) for hook in ("on_validation_start", "on_validation_end") for number in range(EPOCHS)),
    *(("on_train_epoch_end", number) for number in range(EPOCHS)),
    *(("on_train_epoch_start", number) for number in range(1, EPOCHS)),
    ("on_train_end", 0),
]


@pytest.mark.parametrize("hook, time", PLACES, ids=lambda value: str(value).removeprefix("on_"))
def test_a_run_that_died_and_was_resumed_is_the_same(hook: str, time: int, whole: Any, tmp_path: Path) -> None:
    with pytest.raises(Death):
        fit(tmp_path, DieAt(hook, time))
    for number, events in enumerate(sorted(tmp_path.glob("events.*"))):
        events.rename(tmp_path / f"events.out.tfevents.0.{number}")  # before those of the next second
    fit(tmp_path, resume=True)
    (expected, expected_curves), (saved, curves) = whole, outcome(tmp_path)
    torch.testing.assert_close(saved["state_dict"], expected["state_dict"], rtol=0, atol=0)
    torch.testing.assert_close(saved["optimizer_states"], expected["optimizer_states"], rtol=0, atol=0)
    assert saved["lr_schedulers"] == expected["lr_schedulers"]
    assert (saved["epoch"], saved["global_step"]) == (expected["epoch"], expected["global_step"])
    assert curves == expected_curves
