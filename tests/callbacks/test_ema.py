"""Averaged weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.callbacks.ema import EMA
from src.classifier import Classifier
from tests.toys import Linear, Squares, classifier, trainer


def weight(module: nn.Module) -> float:
    """The first."""
    return float(next(module.parameters()).detach().flatten()[0])


class Watch(Callback):
    """The first weight after each step, in each validation, and in the checkpoints."""

    def __init__(self) -> None:
        self.after: list[float] = []
        self.validated: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        self.after.append(weight(pl_module))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self.validated.append(weight(pl_module))


def fit(directory: Path, ema: EMA, **kwargs: object) -> tuple[Watch, Classifier, Trainer]:
    watch, model = Watch(), classifier()
    fitted = trainer(directory, callbacks=[watch, ema], **kwargs)
    fitted.fit(model, datamodule=Squares(), test_after_fit=False)
    return watch, model, fitted


def by_hand(first: float, after: list[float], decays: list[float]) -> float:
    average = first
    for weight, decay in zip(after, decays, strict=True):
        average = decay * average + (1 - decay) * weight
    return average


def test_the_average_is_validated_and_saved_and_the_weights_go_on(tmp_path: Path) -> None:
    first = weight(classifier())
    watch, model, _ = fit(tmp_path, EMA(0.5, warmup=False))
    average = by_hand(first, watch.after, [0.5] * 4)
    assert watch.validated[0] == pytest.approx(average)
    assert weight(model) == pytest.approx(watch.after[-1])
    for name in ("best.ckpt", "last.ckpt"):
        saved = torch.load(tmp_path / "checkpoints" / name, weights_only=True)
        assert float(saved["state_dict"]["net.layer.weight"].flatten()[0]) == pytest.approx(average)
        assert float(saved["ema"]["state_dict"]["net.layer.weight"].flatten()[0]) == pytest.approx(watch.after[-1])


def test_warmup_keeps_little_at_first(tmp_path: Path) -> None:
    first = weight(classifier())
    watch, _, _ = fit(tmp_path, EMA(0.2))
    assert watch.validated[0] == pytest.approx(by_hand(first, watch.after, [1 / 10, 2 / 11, 0.2, 0.2]))


def test_with_accumulated_gradients_a_step_counts_once(tmp_path: Path) -> None:
    first = weight(classifier())
    watch, _, _ = fit(tmp_path, EMA(0.5, warmup=False), accumulate_grad_batches=2)
    assert watch.validated[0] == pytest.approx(by_hand(first, watch.after[1::2], [0.5, 0.5]))


def test_batch_norm_averages_statistics_and_copies_counts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3), Linear())
    fitted = trainer(tmp_path, callbacks=EMA(0.5, warmup=False))
    fitted.fit(Classifier(net, num_classes=3), datamodule=Squares(), test_after_fit=False)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    averaged: dict[str, Tensor] = saved["state_dict"]
    assert averaged["net.0.num_batches_tracked"] == 4
    assert not torch.equal(averaged["net.0.running_mean"], saved["ema"]["state_dict"]["net.0.running_mean"])


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\)"):
        EMA(decay)
