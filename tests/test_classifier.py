"""Loss, metrics, optimizer and schedule, against numbers worked out apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from torch import nn

from src.classifier import Classifier
from src.data import Batch
from src.errors import UserError
from src.optim.warmup_decay import WarmupDecay
from tests.toys import Linear, Squares, classifier, trainer


def batch(size: int | None = None) -> Batch:
    images_BCHW = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels_B = torch.tensor([0, 1, 2, 0])
    return Batch(images_BCHW, labels_B, torch.arange(4), size or 4)


def attached(model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world_size: int = 1) -> Classifier:
    model.trainer = trainer(tmp_path)
    monkeypatch.setattr(type(model.trainer), "world_size", world_size)
    monkeypatch.setattr(model, "log_dict", lambda *args, **kwargs: None)
    return model


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_mean_cross_entropy(smoothing: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(label_smoothing=smoothing), tmp_path, monkeypatch)
    expected = F.cross_entropy(model(batch().images_BCHW), batch().labels_B, label_smoothing=smoothing)
    torch.testing.assert_close(model.training_step(batch(), 0), expected)


def test_the_mean_over_uneven_processes_is_that_of_all_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(), tmp_path, monkeypatch, world_size=2)
    whole = batch()
    three, one = (
        whole._replace(images_BCHW=whole.images_BCHW[s], labels_B=whole.labels_B[s]) for s in ([0, 1, 2], [3])
    )
    mean_of_processes = (model.training_step(three, 0) + model.training_step(one, 0)) / 2
    torch.testing.assert_close(mean_of_processes, F.cross_entropy(model(whole.images_BCHW), whole.labels_B))


def test_an_empty_share_of_a_batch_has_no_loss_and_a_gradient_of_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = attached(classifier(), tmp_path, monkeypatch)
    whole = batch()
    loss = model.training_step(whole._replace(images_BCHW=whole.images_BCHW[:0], labels_B=whole.labels_B[:0]), 0)
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.net.parameters())


def test_the_default_optimizer_is_keras_rmsprop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = attached(classifier(), tmp_path, monkeypatch).configure_optimizers()
    assert isinstance(optimizer, torch.optim.RMSprop)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["alpha"], group["eps"], group["momentum"]) == (1e-3, 0.9, 1e-7, 0)


@pytest.mark.parametrize("interval, last", [("step", 9 / 10), ("epoch", 1 / 2)])
def test_a_schedule_lasts_as_long_as_training(interval: Any, last: float, tmp_path: Path) -> None:
    """Two epochs of five steps: in the last, 9 of 10 steps or 1 of 2 epochs are done."""
    rates: list[float] = []

    class Watched(Classifier):
        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    model = Watched(
        Linear(),
        num_classes=3,
        lr_interval=interval,
        optimizer=lambda params: torch.optim.SGD(params, lr=1.0),
        lr_scheduler=lambda optimizer: WarmupDecay(optimizer, shape="linear"),
    )
    data = Squares(batch_size=5, size=31)  # 24 samples for training: 4 full batches and a rest
    trainer(tmp_path, max_epochs=2).fit(model, datamodule=data, test_after_fit=False)
    assert len(rates) == 10
    assert rates[0] == 1
    assert rates[-1] == pytest.approx(1 - last)


def test_test_metrics_are_those_of_the_predictions(tmp_path: Path) -> None:
    model, data = classifier(), Squares(size=32)
    (result,) = trainer(tmp_path).test(model, datamodule=data)
    images = data.image_set("test")
    images_BCHW = data.normalize_images(images.images_NHWC.permute(0, 3, 1, 2).float() / 255)
    logits_BK = model(images_BCHW)
    right_B = logits_BK.argmax(1) == images.labels_N
    assert result["test/acc"] == pytest.approx(right_B.float().mean().item())
    assert result["test/loss"] == pytest.approx(F.cross_entropy(logits_BK, images.labels_N).item(), rel=1e-5)
    assert result["test/acc_of/green"] == pytest.approx(right_B[images.labels_N == 1].float().mean().item())
    confusion_KK = model.confusion.compute()
    assert confusion_KK.sum() == 32
    assert confusion_KK.diag().sum() == right_B.sum()
    assert "test/top5" not in result  # of three classes


def test_lightning_is_told_of_the_metrics_once_an_epoch_and_asks_them_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step it would cost as much as all else around a step."""
    logged: list[tuple[int, str]] = []
    seen: list[tuple[float, float]] = []
    log_dict = Classifier.log_dict

    def noted(self: Classifier, metrics: Any, **kwargs: Any) -> None:
        logged.append((self.current_epoch, metrics.prefix))
        log_dict(self, metrics, **kwargs)

    class Count(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.samples = 0

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.samples += len(batch.labels_B)
            self.right = float(pl_module.train_metrics["acc"].compute())

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            seen.append((self.samples, self.right - float(trainer.callback_metrics["train/acc"])))

    monkeypatch.setattr(Classifier, "log_dict", noted)
    data = Squares(batch_size=5, size=31)  # 24 samples for training in 5 steps, 7 for validation in 2
    trainer(tmp_path, max_epochs=2, callbacks=[Count()]).fit(classifier(), datamodule=data, test_after_fit=False)
    assert logged == [(0, "train/"), (0, "val/"), (1, "train/"), (1, "val/")]
    assert seen == [(24, 0.0), (24, 0.0)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_the_calibration_error_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    """Also where all logits of a batch lie in [0, 1]; for logits (0.2, 0.9) the confidence is 1 / (1 + exp(-0.7))."""
    model = classifier(num_classes=2)
    logits_BK = torch.tensor([[0.2, 0.9]]).repeat(8, 1)
    for part_BK in logits_BK.split(batch_size):
        labels_B = torch.ones(len(part_BK), dtype=torch.int64)
        model._update(model.test_metrics, Batch(part_BK, labels_B, labels_B, len(part_BK)), labels_B.float(), part_BK)
    expected = 1 - 1 / (1 + math.exp(-0.7))
    assert float(model.test_metrics["calibration_error"].compute()) == pytest.approx(expected, abs=1e-6)


def test_a_second_test_starts_from_nothing(tmp_path: Path) -> None:
    model, data, tester = classifier(), Squares(), trainer(tmp_path)
    assert tester.test(model, datamodule=data) == tester.test(model, datamodule=data)
    assert model.confusion.compute().sum() == 30


def test_top5_of_six_classes_counts_the_five_best() -> None:
    model = classifier(num_classes=6)
    logits_BK = torch.tensor([[6.0, 5, 4, 3, 2, 1]] * 2)
    metric = model.val_metrics["top5"]
    metric.update(logits_BK, torch.tensor([4, 5]))
    assert metric.compute() == 0.5


def test_a_network_that_gives_something_else_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(Classifier(nn.Flatten(), num_classes=3), tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"shape \(4, 48\); for 3 classes"):
        model.training_step(batch(), 0)


@pytest.mark.parametrize("wrong", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"num_classes": 1}])
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}"):
        classifier(**wrong)


def test_a_compiled_network_keeps_the_names_of_its_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = classifier(compile=True)
    before = model.state_dict().keys()
    trainer(tmp_path).fit(model, datamodule=Squares(), test_after_fit=False)
    assert compiled[0] is model.net
    assert model.state_dict().keys() == before


def test_built_in_python_its_checkpoint_holds_plain_data(tmp_path: Path) -> None:
    model = classifier()
    trainer(tmp_path).fit(model, datamodule=Squares(), test_after_fit=False)
    path = tmp_path / "checkpoints" / "last.ckpt"
    loaded = Classifier.load_from_checkpoint(path, net=Linear(), num_classes=3)
    torch.testing.assert_close(loaded.net.state_dict(), model.net.state_dict(), rtol=0, atol=0)
