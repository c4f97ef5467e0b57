"""An interrupted and resumed run is bit-identical to the uninterrupted one: weights, optimizer, metrics and scalars."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LRScheduler, ReduceLROnPlateau

from src.callbacks.ema import EMA
from src.callbacks.frozen_backbone import FrozenBackbone
from src.classifier import Classifier
from src.data.augment import Flip, MixupOrCutMix, Shift
from src.models.dropout import Dropout
from src.optim.warmup_decay import WarmupDecay
from tests import toys
from tests.toys import CallAt, Interrupted, Scalars, Squares, last_checkpoint, logged_scalars

EPOCHS, STEPS = 3, 4  # per epoch: 24 images in batches of 6

Outcome = tuple[dict[str, Any], Scalars]


def warmup(optimizer: Optimizer) -> LRScheduler:
    return WarmupDecay(optimizer, warmup=0.3)


def plateau(optimizer: Optimizer) -> LRScheduler:
    return ReduceLROnPlateau(optimizer, "max", patience=0)


# The arguments of Classifier, Squares and Trainer that differ from those of the default kind.
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}, {}),
    "images": ({}, {}, {"images": True}),  # one case, since drawing takes long
    "averaged weights": ({}, {}, {"callbacks": [EMA(0.9)]}),
    "accumulated gradients": ({}, {}, {"accumulate_grad_batches": 3}),  # of four: the last step has one batch
    "no validation": ({}, {"val_fraction": 0.0}, {}),
    "schedule by epoch": ({"lr_scheduler": lambda o: ExponentialLR(o, 0.5), "lr_interval": "epoch"}, {}, {}),
    "plateau": ({"lr_scheduler": plateau}, {}, {}),
    "plateau, validation within the epoch": ({"lr_scheduler": plateau}, {}, {"val_check_interval": 0.75}),
    "validation by steps": ({}, {}, {"check_val_every_n_epoch": None, "val_check_interval": 6}),
    "end by steps": ({}, {}, {"max_epochs": -1, "max_steps": 11}),
    "checkpoint per epoch": ({}, {}, {"every_n_steps": None}),
    "balanced classes": ({"class_weights": "balanced"}, {"balanced": True, "size": 31}, {}),
    # For two of three epochs, so that the places are before, at and after its end.
    "frozen backbone and layer decay": ({"layer_decay": 0.5}, {}, {"callbacks": [FrozenBackbone(2), EMA(0.9)]}),
    "mixup and CutMix": ({}, {"mix": MixupOrCutMix(1.0, 1.0)}, {}),
}


def fit(directory: Path, *callbacks: Callback, kind: str = "default", resume: bool = False) -> None:
    for_classifier, for_data, for_trainer = copy.deepcopy(KINDS[kind])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Dropout(0.25), nn.Flatten(), nn.Linear(16, 3))
    training = {"optimizer": lambda params: torch.optim.AdamW(params, lr=0.01), "lr_scheduler": warmup}
    model = Classifier(net, num_classes=3, **{**training, **for_classifier})
    data = Squares(augment=[Flip(), Shift(1)], seed=3, **for_data)
    all_callbacks = [*callbacks, *for_trainer.pop("callbacks", [])]
    default = {"max_epochs": EPOCHS, "logger": True, "images": False, "log_every_n_steps": 1, "every_n_steps": 1}
    toys.fit(directory, model, data, resume, test=True, **{**default, **for_trainer}, callbacks=all_callbacks)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """The outcome of the undisturbed run of a kind."""

    @functools.cache
    def run(kind: str) -> Outcome:
        directory = tmp_path_factory.mktemp("undisturbed")
        fit(directory, kind=kind)
        return last_checkpoint(directory), logged_scalars(directory)

    return run


PLACES = [
    *(("on_train_batch_end", number) for number in range(1, EPOCHS * STEPS)),
    *(("on_train_batch_start", number) for number in range(2, EPOCHS * STEPS)),
    *((hook, number) for hook in ("on_validation_start", "on_validation_end") for number in range(EPOCHS)),
    *(("on_train_epoch_end", number) for number in range(EPOCHS)),
    *(("on_train_epoch_start", number) for number in range(1, EPOCHS)),
    ("on_train_end", 0),
]
# For the other kinds, one place of each sort, after the first checkpoint of all of them.
SOME = [("on_train_batch_end", 6), ("on_train_batch_start", 7), ("on_train_batch_end", 8), ("on_train_epoch_end", 1)]
SOME += [("on_train_epoch_start", 2), ("on_train_end", 0)]
VALIDATION = [("on_validation_start", 1), ("on_validation_end", 1)]
CASES = [("default", *place) for place in PLACES]
CASES += [(kind, *place) for kind in list(KINDS)[2:] for place in SOME + VALIDATION * (kind != "no validation")]
CASES += [("validation by steps", "on_validation_start", 0)]  # within the second epoch
CASES += [("images", "on_train_batch_end", 6)]


@pytest.mark.parametrize("kind, hook, nth", CASES, ids=lambda value: str(value).removeprefix("on_"))
def test_an_interrupted_and_resumed_run_ends_as_the_undisturbed_one(
    kind: str, hook: str, nth: int, undisturbed: Callable[[str], Outcome], tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, CallAt(hook, nth), kind=kind)
    fit(tmp_path, kind=kind, resume=True)
    (expected, expected_scalars), saved = undisturbed(kind), last_checkpoint(tmp_path)
    for entry in {"state_dict", "optimizer_states", "current_model_state", "averaging_state"} & expected.keys():
        torch.testing.assert_close(saved[entry], expected[entry], rtol=0, atol=0)
    assert saved["lr_schedulers"] == expected["lr_schedulers"]
    assert saved["global_step"] == expected["global_step"]
    assert saved["epoch"] == expected["epoch"]
    assert logged_scalars(tmp_path) == expected_scalars


def test_the_kinds_differ(undisturbed: Callable[[str], Outcome]) -> None:
    def weights(kind: str) -> float:
        return float(sum(value.double().abs().sum() for value in undisturbed(kind)[0]["state_dict"].values()))

    assert weights("checkpoint per epoch") == weights("validation by steps") == weights("default") == weights("images")
    assert weights("plateau, validation within the epoch") == weights("plateau")
    assert len({weights(kind) for kind in KINDS}) == len(KINDS) - 4
