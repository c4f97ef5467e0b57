"""Scalars that show why a training goes wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning import Callback, LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch.optim import SGD

from src.callbacks import TrainingHealth
from tests.toys import Squares, classifier, trainer


class Recorded(CSVLogger):
    """Keeps what is logged."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.logged: dict[str, list[tuple[int | None, float]]] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        for name, value in metrics.items():
            self.logged.setdefault(name, []).append((step, value))


class Norms(Callback):
    """The norms of gradient and weights before each step, computed one by one."""

    def __init__(self) -> None:
        self.gradient: list[float] = []
        self.weights: list[float] = []

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: LightningModule) -> None:
        weights = list(pl_module.parameters())
        self.gradient.append(float(torch.cat([own.grad.flatten() for own in weights if own.grad is not None]).norm()))
        self.weights.append(float(torch.cat([own.detach().flatten() for own in weights]).norm()))


def fit(directory: Path, **kwargs: Any) -> tuple[dict[str, list[tuple[int | None, float]]], Norms]:
    logger, norms = Recorded(directory), Norms()
    fitted = trainer(directory, logger=logger, callbacks=norms, **kwargs)
    model = classifier(optimizer=lambda parameters: SGD(parameters, lr=0.5))
    fitted.fit(model, datamodule=Squares(), test_after_fit=False)
    return logger.logged, norms


def test_the_norm_of_the_gradient_is_that_before_clipping(tmp_path: Path) -> None:
    logged, norms = fit(tmp_path, log_every_n_steps=2, gradient_clip_val=0.001)
    assert logged["watch/gradient_norm"] == [(step, pytest.approx(norms.gradient[step])) for step in (1, 3)]


def test_the_update_ratio_of_sgd_follows_from_the_gradient(tmp_path: Path) -> None:
    logged, norms = fit(tmp_path, log_every_n_steps=1)
    expected = [0.5 * gradient / weights for gradient, weights in zip(norms.gradient, norms.weights, strict=True)]
    assert [ratio for _, ratio in logged["watch/update_ratio"]] == pytest.approx(expected, rel=1e-4)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    logged, norms = fit(tmp_path, log_every_n_steps=1, accumulate_grad_batches=2)
    expected = [(step, pytest.approx(norms.gradient[batch])) for step, batch in ((0, 1), (1, 3))]
    assert logged["watch/gradient_norm"] == expected


def test_speed_and_memory(tmp_path: Path) -> None:
    logged, _ = fit(tmp_path, log_every_n_steps=2)
    assert [step for step, _ in logged["watch/images_per_second"]] == [1, 3]
    assert [step for step, _ in logged["watch/seconds_per_epoch"]] == [3]
    ((_, seconds),) = logged["watch/seconds_per_epoch"]
    assert all(speed > 12 / seconds for _, speed in logged["watch/images_per_second"])


def test_training_is_the_same_without_it(tmp_path: Path) -> None:
    weights = []
    given: tuple[list[Callback], ...] = ([], [TrainingHealth()])
    for callbacks in given:
        fitted = lightning.Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            max_epochs=1,
            log_every_n_steps=1,
            logger=CSVLogger(tmp_path),
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        model = classifier()
        fitted.fit(model, datamodule=Squares())
        weights.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
