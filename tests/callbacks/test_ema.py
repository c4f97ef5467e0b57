"""Exponential moving average of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src.callbacks.ema import EMA, ENTRY
from src.classifier import Classifier
from tests.toys import Linear, Squares, classifier, trainer


def weight(module: nn.Module) -> float:
    """The first one."""
    return float(next(module.parameters()).detach().flatten()[0])


def saved_weights(path: Path) -> tuple[float, float]:
    """The first averaged and the first trained weight in a checkpoint."""
    saved = torch.load(path, weights_only=True)
    averaged, trained = (float(saved[entry]["net.layer.weight"].flatten()[0]) for entry in ("state_dict", ENTRY))
    return averaged, trained


class FirstWeight(Callback):
    """Records the first weight after each step and at the start of each validation."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.validated: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        self.trained.append(weight(pl_module))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated.append(weight(pl_module))


def fit(directory: Path, ema: EMA, ckpt_path: Path | None = None, **kwargs: Any) -> tuple[FirstWeight, Classifier]:
    record, model = FirstWeight(), classifier()
    fitted = trainer(directory, callbacks=[ema, record], **kwargs)
    fitted.fit(model, datamodule=Squares(), test_after_fit=False, ckpt_path=ckpt_path and str(ckpt_path))
    return record, model


def expected_average(initial: float, trained: list[float], decays: list[float]) -> float:
    average = initial
    for value, decay in zip(trained, decays, strict=True):
        average = decay * average + (1 - decay) * value
    return average


def test_validation_and_checkpoints_use_the_average_and_training_continues_from_the_weights(tmp_path: Path) -> None:
    initial = weight(classifier())
    record, model = fit(tmp_path, EMA(0.5, warmup=False))
    average = expected_average(initial, record.trained, [0.5] * 4)
    assert record.validated[0] == pytest.approx(average)
    assert weight(model) == pytest.approx(record.trained[-1])
    for name in ("best.ckpt", "last.ckpt"):
        assert saved_weights(tmp_path / "checkpoints" / name) == pytest.approx((average, record.trained[-1]))


def test_warmup_limits_the_first_decays(tmp_path: Path) -> None:
    initial = weight(classifier())
    record, _ = fit(tmp_path, EMA(0.2))
    assert record.validated[0] == pytest.approx(expected_average(initial, record.trained, [1 / 10, 2 / 11, 0.2, 0.2]))


def test_accumulated_batches_update_the_average_once_per_step(tmp_path: Path) -> None:
    initial = weight(classifier())
    record, _ = fit(tmp_path, EMA(0.5, warmup=False), accumulate_grad_batches=2)
    assert record.validated[0] == pytest.approx(expected_average(initial, record.trained[1::2], [0.5, 0.5]))


def test_a_run_resumed_with_more_epochs_equals_one_longer_run(tmp_path: Path) -> None:
    fit(tmp_path / "long", EMA(0.5), max_epochs=3)
    fit(tmp_path / "short", EMA(0.5))
    fit(tmp_path / "resumed", EMA(0.5), tmp_path / "short/checkpoints/last.ckpt", max_epochs=3)
    long, resumed = (saved_weights(tmp_path / name / "checkpoints/last.ckpt") for name in ("long", "resumed"))
    assert resumed == long


def test_an_average_added_on_resume_starts_at_the_resumed_weights(tmp_path: Path) -> None:
    trainer(tmp_path / "a").fit(classifier(), datamodule=Squares(), test_after_fit=False)
    path = tmp_path / "a/checkpoints/last.ckpt"
    resumed = float(torch.load(path, weights_only=True)["state_dict"]["net.layer.weight"].flatten()[0])
    record, _ = fit(tmp_path / "b", EMA(0.5, warmup=False), path, max_epochs=2, accumulate_grad_batches=2)
    assert record.validated[0] == pytest.approx(expected_average(resumed, record.trained[1::2], [0.5, 0.5]))


def test_a_test_with_the_trainer_of_the_fit_uses_the_average(tmp_path: Path) -> None:
    model = classifier()
    fitted = trainer(tmp_path, callbacks=EMA(0.5))
    fitted.fit(model, datamodule=Squares())
    averaged, trained = saved_weights(tmp_path / "checkpoints/best.ckpt")
    assert weight(model) == averaged != trained


def test_batch_norm_averages_statistics_and_copies_counts(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm2d(3), Linear())
    fitted = trainer(tmp_path, callbacks=EMA(0.5, warmup=False))
    fitted.fit(Classifier(net, num_classes=3), datamodule=Squares(), test_after_fit=False)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    averaged: dict[str, Tensor] = saved["state_dict"]
    assert averaged["net.0.num_batches_tracked"] == 4
    assert not torch.equal(averaged["net.0.running_mean"], saved[ENTRY]["net.0.running_mean"])


def test_the_average_lies_on_the_device_of_the_network() -> None:
    # Lightning moves the network between these two hooks; "meta" stands for a GPU.
    ema, fitted, model = EMA(), Trainer(accelerator="cpu", logger=False), classifier()
    ema.setup(fitted, model, "fit")
    ema.on_fit_start(fitted, model.to("meta"))
    checkpoint: dict[str, Any] = {"state_dict": {}}
    ema.on_save_checkpoint(fitted, model, checkpoint)
    assert {value.device.type for value in checkpoint["state_dict"].values()} == {"meta"}


def test_shared_weights_are_swapped_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = Linear()
    net = nn.ModuleDict({"a": layer, "b": layer})
    net.forward = layer.forward
    model, record = Classifier(net, num_classes=3), FirstWeight()
    trainer(tmp_path, callbacks=[EMA(0.5), record]).fit(model, datamodule=Squares(), test_after_fit=False)
    assert weight(model) == record.trained[-1] != record.validated[0]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 1\)"):
        EMA(decay)
