"""An interrupted run ends as the uninterrupted one: weights, optimizer, metrics and curves, to the bit."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, ReduceLROnPlateau

from src.callbacks.ema import EMA
from src.classifier import Classifier
from src.data.augment import Flip, Shift
from src.models.dropout import Dropout
from src.optim.warmup_decay import WarmupDecay
from tests.toys import Squares, trainer

EPOCHS, STEPS = 3, 4  # per epoch: 24 images in batches of 6

Curves = dict[str, list[tuple[int, float]]]


def warmup(optimizer: Optimizer) -> LRScheduler:
    return WarmupDecay(optimizer, warmup=0.3)


# What is different from the run with everything usual, of Classifier, Squares and Trainer.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "usual": ({}, {}, {}),
    "averaged": ({}, {}, {"callbacks": [EMA(0.9)]}),
    "accumulated": ({}, {}, {"accumulate_grad_batches": 2}),
    "without validation": ({}, {"val_fraction": 0.0}, {}),
    "halved each epoch": ({"lr_scheduler": lambda o: ExponentialLR(o, 0.5), "lr_interval": "epoch"}, {}, {}),
    "waiting for a metric": ({"lr_scheduler": lambda o: ReduceLROnPlateau(o, "max", patience=0)}, {}, {}),
    "waiting within the epoch": (
        {"lr_scheduler": lambda o: ReduceLROnPlateau(o, "max", patience=0)},
        {},
        {"val_check_interval": 0.75},
    ),
    "validated by steps": ({}, {}, {"check_val_every_n_epoch": None, "val_check_interval": 6}),
    "ended by steps": ({}, {}, {"max_epochs": -1, "max_steps": 11}),
    "saved once an epoch": ({}, {}, {"every_n_steps": None}),
}


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


def fit(directory: Path, *callbacks: Callback, kind: str = "usual", resume: bool = False) -> None:
    of_classifier, of_data, of_trainer = copy.deepcopy(KINDS[kind])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Dropout(0.25), nn.Flatten(), nn.Linear(16, 3))
    learning = {"optimizer": lambda params: torch.optim.AdamW(params, lr=0.01), "lr_scheduler": warmup}
    model = Classifier(net, num_classes=3, **{**learning, **of_classifier})
    data = Squares(augment=[Flip(), Shift(1)], seed=3, **of_data)
    (directory / "config.yaml").parent.mkdir(exist_ok=True)
    (directory / "config.yaml").touch()
    more = [*callbacks, *of_trainer.pop("callbacks", [])]
    usual = {"max_epochs": EPOCHS, "logger": True, "log_every_n_steps": 1, "every_n_steps": 1}
    fitted = trainer(directory, **{**usual, **of_trainer}, callbacks=more)
    fitted.fit(model, datamodule=data, resume=str(directory) if resume else None)


def outcome(directory: Path) -> tuple[dict[str, Any], Curves]:
    """The last checkpoint and the curves."""
    saved = torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)
    board = EventAccumulator(str(directory), {"scalars": 0}).Reload()
    # The test logs into a file of its own, and files of the same second are read in any order.
    names = [name for name in board.Tags()["scalars"] if name.startswith(("train/", "val/", "lr-"))]
    return saved, {name: [(point.step, point.value) for point in board.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], Curves]]:
    """The outcome of the undisturbed run of a kind."""

    @functools.cache
    def run(kind: str) -> tuple[dict[str, Any], Curves]:
        directory = tmp_path_factory.mktemp("whole")
        fit(directory, kind=kind)
        return outcome(directory)

    return run


PLACES = [
    *(("on_train_batch_end", number) for number in range(1, EPOCHS * STEPS)),
    *(("on_train_batch_start", number) for number in range(2, EPOCHS * STEPS)),
    *((hook, number) for hook in ("on_validation_start", "on_validation_end") for number in range(EPOCHS)),
    *(("on_train_epoch_end", number) for number in range(EPOCHS)),
    *(("on_train_epoch_start", number) for number in range(1, EPOCHS)),
    ("on_train_end", 0),
]
# Of other kinds, a place of each sort, after the first checkpoint of all of them.
SOME = [("on_train_batch_end", 6), ("on_train_batch_start", 7), ("on_train_batch_end", 8), ("on_train_epoch_end", 1)]
SOME += [("on_train_epoch_start", 2), ("on_train_end", 0)]
VALIDATING = [("on_validation_start", 1), ("on_validation_end", 1)]
CASES = [("usual", *place) for place in PLACES]
CASES += [(kind, *place) for kind in list(KINDS)[1:] for place in SOME + VALIDATING * (kind != "without validation")]


@pytest.mark.parametrize("kind, hook, time", CASES, ids=lambda value: str(value).removeprefix("on_"))
def test_a_run_that_died_and_was_resumed_is_the_same(
    kind: str, hook: str, time: int, whole: Callable[[str], tuple[dict[str, Any], Curves]], tmp_path: Path
) -> None:
    with pytest.raises(Death):
        fit(tmp_path, DieAt(hook, time), kind=kind)
    for number, events in enumerate(sorted(tmp_path.glob("events.*"))):
        events.rename(tmp_path / f"events.out.tfevents.0.{number}")  # before those of the next second
    fit(tmp_path, kind=kind, resume=True)
    (expected, expected_curves), (saved, curves) = whole(kind), outcome(tmp_path)
    for entry in {"state_dict", "optimizer_states", "current_model_state", "averaging_state"} & expected.keys():
        torch.testing.assert_close(saved[entry], expected[entry], rtol=0, atol=0)
    assert saved["lr_schedulers"] == expected["lr_schedulers"]
    assert saved["global_step"] == expected["global_step"]
    if kind == "ended by steps":  # here Lightning logs the last step of the resumed epoch one step later
        return
    assert saved["epoch"] == expected["epoch"]
    assert curves == expected_curves


def test_the_kinds_differ(whole: Callable[[str], tuple[dict[str, Any], Curves]]) -> None:
    def weights(kind: str) -> float:
        return float(sum(value.double().abs().sum() for value in whole(kind)[0]["state_dict"].values()))

    assert weights("saved once an epoch") == weights("validated by steps") == weights("usual")
    assert weights("waiting within the epoch") == weights("waiting for a metric")
    assert len({weights(kind) for kind in KINDS}) == len(KINDS) - 3
