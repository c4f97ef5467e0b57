"""Training that is stopped at any step, in any way, and resumed ends as the undisturbed one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from lightning import Callback
from lightning_utilities.core.apply_func import apply_to_collection
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from src.callbacks.ema import EMA
from src.classifier import Classifier
from src.data.augment import Flip, Shift
from src.models.dropout import Dropout
from src.optim.warmup_decay import WarmupDecay
from tests import toys
from tests.toys import Interrupted, Squares, last_checkpoint

EPOCHS = 3
EXAMPLES = int(os.environ.get("EXAMPLES", "40"))

SCHEDULES: dict[str, Callable[[Any], LRScheduler] | None] = {
    "constant": None,
    "warmup": lambda o: WarmupDecay(o, warmup=0.3),
    "one cycle": lambda o: OneCycleLR(o, 0.1, total_steps=200),
    "cosine": lambda o: CosineAnnealingLR(o, 10),
    "steps": lambda o: MultiStepLR(o, [1, 2]),
    "exponential": lambda o: ExponentialLR(o, 0.9),
    "plateau": lambda o: ReduceLROnPlateau(o, patience=0),
}


@dataclass
class Setting:
    """What is trained."""

    schedule: str
    by_step: bool
    accumulate: int
    batch_size: int
    drop_last: bool
    averaged: bool
    validation: dict[str, Any]
    every_n_steps: int | None


class StopAt(Callback):
    """Stops training in the given way when Lightning calls `hook` for the nth time, counted from 0."""

    def __init__(self, hook: str, nth: int, way: str) -> None:
        self.left, self.way = nth, way
        setattr(self, hook, self.act)

    def act(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        self.left -= 1
        if self.left == -1 and self.way == "should_stop":
            trainer.should_stop = True
        elif self.left == -1 and self.way == "signal":
            signal.raise_signal(signal.SIGTERM)
        elif self.left == -1:
            raise Interrupted


SETTINGS = st.builds(
    Setting,
    schedule=st.sampled_from(list(SCHEDULES)),
    by_step=st.booleans(),
    accumulate=st.integers(1, 3),
    batch_size=st.sampled_from([4, 5, 6]),
    drop_last=st.booleans(),
    averaged=st.booleans(),
    validation=st.sampled_from(
        [
            {},
            {"val_check_interval": 0.5},
            {"val_check_interval": 2},
            {"val_check_interval": 3},
            {"check_val_every_n_epoch": 2},
            {"check_val_every_n_epoch": None, "val_check_interval": 5},
            {"limit_val_batches": 0},
        ]
    ),
    every_n_steps=st.sampled_from([None, 1, 2]),
)
HOOKS = ["on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end", "on_validation_end"]
STOPS = st.one_of(
    st.tuples(st.just("max_steps"), st.integers(1, 12)),
    st.tuples(st.sampled_from(["should_stop", "signal", "exception"]), st.sampled_from(HOOKS), st.integers(0, 12)),
)


def fit(directory: Path, setting: Setting, resume: bool, *callbacks: Callback, **kwargs: Any) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Dropout(0.25), nn.Flatten(), nn.Linear(16, 3))
    model = Classifier(
        net,
        num_classes=3,
        optimizer=lambda params: torch.optim.AdamW(params, lr=0.01),
        lr_scheduler=SCHEDULES[setting.schedule],
        lr_interval="step" if setting.schedule == "one cycle" or setting.by_step else "epoch",
    )
    data = Squares(
        augment=[Flip(), Shift(1)], seed=3, batch_size=setting.batch_size, drop_last=setting.drop_last
    )  # 24 training images
    average = [EMA(0.9)] if setting.averaged else []
    arguments = {
        "max_epochs": EPOCHS,
        "accumulate_grad_batches": setting.accumulate,
        "every_n_steps": setting.every_n_steps,
        "enable_model_summary": False,
        **setting.validation,
        **kwargs,
    }
    toys.fit(directory, model, data, resume, callbacks=[*callbacks, *average], **arguments)


def stop(directory: Path, setting: Setting, resume: bool, how: tuple[Any, ...]) -> None:
    if how[0] == "max_steps":
        return fit(directory, setting, resume, max_steps=how[1])
    with contextlib.suppress(SystemExit, Interrupted):
        fit(directory, setting, resume, StopAt(how[1], how[2], how[0]))


def outcome(directory: Path) -> dict[str, Any]:
    saved = last_checkpoint(directory)
    entries = ("state_dict", "optimizer_states", "lr_schedulers", "current_model_state", "averaging_state", "epoch")
    content = {entry: saved.get(entry) for entry in (*entries, "global_step")}
    return apply_to_collection(content, torch.Tensor, torch.Tensor.tolist)


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    phases=[Phase.generate],
)
@given(setting=SETTINGS, stops=st.lists(STOPS, min_size=1, max_size=3))
def test_a_stopped_and_resumed_run_ends_as_the_undisturbed_one(setting: Setting, stops: list[tuple[Any, ...]]) -> None:
    # That schedule spans the entire training, so another max_steps changes it.
    assume(setting.schedule != "warmup" or all(how[0] != "max_steps" for how in stops))
    assume(setting.schedule != "plateau" or setting.validation.keys() <= {"val_check_interval"})  # in each epoch
    with tempfile.TemporaryDirectory() as folder:
        undisturbed, stopped = Path(folder, "undisturbed"), Path(folder, "stopped")
        fit(undisturbed, setting, resume=False)
        for how in [*stops, None]:
            resume = (stopped / "checkpoints" / "last.ckpt").exists()
            if not resume:  # an exception came before the first checkpoint
                shutil.rmtree(stopped, ignore_errors=True)
            if how:
                stop(stopped, setting, resume, how)
            else:
                fit(stopped, setting, resume)
        assert outcome(stopped) == outcome(undisturbed)
