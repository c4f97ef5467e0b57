"""What a run refuses of what Lightning offers."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    DeviceStatsMonitor,
    LearningRateFinder,
    ModelPruning,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy

from src.errors import UserError
from src.runtime import refusals
from tests.toys import Squares, classifier, fit, trainer


@pytest.mark.parametrize(
    ("callback", "instead"),
    [
        (LearningRateFinder(), r"model\.optimizer\.init_args\.lr"),
        (BatchSizeFinder(), r"data\.batch_size with --trainer\.max_steps"),
        (StochasticWeightAveraging(0.1), r"use src\.callbacks\.EMA"),
        (BackboneFinetuning(), r"use src\.callbacks\.FrozenBackbone"),
        (ModelPruning("l1_unstructured"), r"torch\.nn\.utils\.prune"),
    ],
)
def test_a_callback_that_is_refused(callback: Callback, instead: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{type(callback).__name__} is not supported: .*{instead}"):
        trainer(tmp_path / "run", callbacks=[callback])
    assert not (tmp_path / "run").exists()


def test_a_monitor_of_the_cpu_needs_psutil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="DeviceStatsMonitor needs psutil, which is not installed"):
        trainer(tmp_path, callbacks=DeviceStatsMonitor())


@pytest.mark.parametrize(("argument", "value"), [("enable_checkpointing", False), ("barebones", True)])
def test_an_argument_that_is_refused(argument: str, value: bool, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"trainer.{argument} {str(value).lower()} is not supported"):
        trainer(tmp_path, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value", "words"),
    [
        ("accumulate_grad_batches", 0, "not above 0; .* set 1 for one"),
        ("accumulate_grad_batches", -1, "not above 0"),  # Lightning never steps the optimizer
        ("check_val_every_n_epoch", 0, "not above 0; for no validation, set trainer.limit_val_batches 0"),
        ("val_check_interval", 0, "not above 0; for no validation"),
        ("val_check_interval", float("nan"), "not above 0"),
        ("gradient_clip_val", -0.5, "below 0; set null for no clipping"),  # Lightning does not clip
        ("log_every_n_steps", -1, "below 0"),
    ],
)
def test_a_number_out_of_range_is_refused(argument: str, value: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"trainer.{argument} {value} is {words}"):
        trainer(tmp_path, **{argument: value})


@pytest.mark.parametrize("strategy", ["fsdp", FSDPStrategy(), ModelParallelStrategy()])
def test_a_strategy_with_checkpoints_of_its_own_is_refused(strategy: Strategy | str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not supported: Lightning saves .* use src\.runtime\.fsdp\.FSDP"):
        trainer(tmp_path, strategy=strategy)


def test_a_class_of_a_strategy_given_as_a_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"src\.runtime\.fsdp\.FSDP is a class, which is given as `class_path`"):
        trainer(tmp_path, strategy="src.runtime.fsdp.FSDP")


@pytest.mark.parametrize("progress", [RichProgressBar, TQDMProgressBar])
def test_a_progress_bar_is_shown_where_the_output_is_redirected(
    progress: type[Callback], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    bar = progress()
    fitted = trainer(tmp_path, callbacks=[bar], enable_progress_bar=None)
    fitted.fit(classifier(), test_after_fit=False, datamodule=Squares())
    assert fitted.progress_bar_callback is bar


def test_timer_can_be_configured(tmp_path: Path) -> None:
    assert fit(tmp_path, callbacks=[Timer()]).global_step == 4
