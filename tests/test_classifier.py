"""Loss, metrics, optimizer and schedule."""

from __future__ import annotations

import csv
import functools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.cli import ReduceLROnPlateau
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score

from src.classifier import Classifier
from src.data import Batch, ImageSet
from src.errors import UserError
from src.metrics import class_metrics
from src.optim.warmup_decay import WarmupDecay
from tests.toys import Linear, Squares, classifier, fit, trainer


def batch(samples: list[int] | None = None) -> Batch:
    """A batch of four samples, or a shard of it."""
    images_BCHW = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels_B = torch.tensor([0, 1, 2, 0])
    shard = slice(None) if samples is None else samples
    return Batch(images_BCHW[shard], labels_B[shard], torch.arange(4)[shard], 4)


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


def test_the_loss_of_a_mixture_is_the_weighted_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(label_smoothing=0.1), tmp_path, monkeypatch)
    one = batch()
    others_B, weights_B = torch.tensor([1, 1, 0, 2]), torch.tensor([1.0, 0.3, 0.9, 0.5])
    targets_BK = weights_B[:, None] * F.one_hot(one.labels_B, 3) + (1 - weights_B[:, None]) * F.one_hot(others_B, 3)
    expected = F.cross_entropy(model(one.images_BCHW), targets_BK, label_smoothing=0.1)
    mixed = one._replace(partner_labels_B=others_B, weights_B=weights_B)
    torch.testing.assert_close(model.training_step(mixed, 0), expected)
    predicted_B = model(one.images_BCHW).argmax(1)
    heavier_B = torch.tensor([0, 1, 2, 0])
    assert model.train_metrics["acc"].compute() == (predicted_B == heavier_B).float().mean()


def own_loss(logits_BK: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    return (logits_BK - F.one_hot(labels_B, logits_BK.shape[1])).pow(2).sum(1)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (nn.MultiMarginLoss(margin=0.5), functools.partial(F.multi_margin_loss, margin=0.5)),
        (F.multi_margin_loss, F.multi_margin_loss),
        (nn.CrossEntropyLoss(label_smoothing=0.2), functools.partial(F.cross_entropy, label_smoothing=0.2)),
        (own_loss, lambda logits_BK, labels_B: own_loss(logits_BK, labels_B).mean()),
    ],
)
def test_any_loss(loss: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(loss=loss), tmp_path, monkeypatch)
    logits_BK = model(batch().images_BCHW)
    torch.testing.assert_close(model.training_step(batch(), 0), expected(logits_BK, batch().labels_B))


def test_a_loss_with_a_mean_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(loss=lambda logits_BK, labels_B: logits_BK.mean()), tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"model.loss returns \(\) for \(4, 3\) logits; it must return one"):
        model.training_step(batch(), 0)
    with pytest.raises(ValueError, match=r"label_smoothing 0.1 is of the default loss"):
        classifier(loss=own_loss, label_smoothing=0.1)


def test_any_metric_gets_probabilities(tmp_path: Path) -> None:
    own = {"macro": lambda k: MulticlassF1Score(k, average="macro"), "auroc": MulticlassAUROC}
    model, data = classifier(metrics=own), Squares()
    testing = fit(tmp_path, model, data, test=True)
    assert {"test/macro", "test/auroc", "test/f1"} <= testing.callback_metrics.keys()
    images = data.image_set("test")
    probabilities_NK = model(data.normalize_images(images.images_NHWC.permute(0, 3, 1, 2) / 255)).softmax(-1)
    expected = MulticlassAUROC(3)(probabilities_NK, images.labels_N)
    torch.testing.assert_close(testing.callback_metrics["test/auroc"], expected)
    with pytest.raises(ValueError, match="metrics has acc, which every run has"):
        classifier(metrics={"acc": MulticlassF1Score})


def test_class_weights_multiply_the_training_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(class_weights=[0.5, 2.0, 3.0]), tmp_path, monkeypatch)
    model.setup("fit")
    losses_B = F.cross_entropy(model(batch().images_BCHW), batch().labels_B, reduction="none")
    weights_B = torch.tensor([0.5, 2.0, 3.0, 0.5])
    torch.testing.assert_close(model.training_step(batch(), 0), (losses_B * weights_B).mean())
    model.eval()
    torch.testing.assert_close(model._losses(batch())[0], losses_B)
    assert "class_weights_K" not in model.state_dict()
    with pytest.raises(ValueError, match=r"class_weights \[1\] must be 3 numbers of at least 0, not all 0"):
        classifier(class_weights=[1])
    for wrong in ([0, 0, 0], [1, 1, -1], [1, 1, float("nan")]):
        with pytest.raises(ValueError, match="must be 3 numbers of at least 0, not all 0, or balanced"):
            classifier(class_weights=wrong)
    with pytest.raises(ValueError, match="class_weights equal must be 3 numbers of at least 0, not all 0, or balanced"):
        classifier(class_weights="equal")


def test_balanced_class_weights_are_one_on_average(tmp_path: Path) -> None:
    model, data = classifier(class_weights="balanced"), Squares(size=31, val_fraction=0.0)
    fit(tmp_path, model, data)
    counts_K = data.class_counts()
    assert counts_K.tolist() == [11, 10, 10]
    assert model.class_weights_K is not None
    torch.testing.assert_close(model.class_weights_K, 31 / (3 * counts_K.float()))
    assert float((model.class_weights_K * counts_K).sum()) == pytest.approx(31)


def test_the_mean_over_uneven_shards_is_that_of_all_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(), tmp_path, monkeypatch, world_size=2)
    mean_of_ranks = (model.training_step(batch([0, 1, 2]), 0) + model.training_step(batch([3]), 0)) / 2
    torch.testing.assert_close(mean_of_ranks, F.cross_entropy(model(batch().images_BCHW), batch().labels_B))


def test_an_empty_shard_has_no_loss_and_a_gradient_of_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(classifier(), tmp_path, monkeypatch)
    loss = model.training_step(batch([]), 0)
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.net.parameters())


def test_the_default_optimizer_has_the_defaults_of_its_class() -> None:
    """Otherwise a recipe that names the class would not get what its help shows."""
    model = classifier()
    optimizer, stock = model.configure_optimizers(), torch.optim.AdamW(model.parameters())
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults == stock.defaults


@pytest.mark.parametrize("interval, last", [("step", 9 / 10), ("epoch", 1 / 2)])
def test_a_warmup_decay_schedule_spans_the_training(interval: Any, last: float, tmp_path: Path) -> None:
    """Two epochs of five steps: in the last step, 9 of 10 steps or 1 of 2 epochs are done."""
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
    data = Squares(batch_size=5, size=31)  # 24 samples for training: 4 full batches and one of 4
    fit(tmp_path, model, data, max_epochs=2)
    assert len(rates) == 10
    assert rates[0] == 1
    assert rates[-1] == pytest.approx(1 - last)


def test_a_plateau_schedule_monitors_its_own_metric_after_each_epoch() -> None:
    schedule = lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/acc", mode="max")  # noqa: E731
    config = classifier(lr_scheduler=schedule, lr_interval="step").configure_optimizers()["lr_scheduler"]
    assert (config["monitor"], config["interval"]) == ("val/acc", "epoch")


def test_warmup_decay_needs_the_number_of_steps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.max_epochs or trainer\.max_steps is needed"):
        fit(tmp_path, classifier(lr_scheduler=WarmupDecay), max_epochs=-1)


def test_test_metrics_are_those_of_the_predictions(tmp_path: Path) -> None:
    model, data = classifier(), Squares(size=32)
    (result,) = trainer(tmp_path).test(model, datamodule=data)
    images = data.image_set("test")
    images_BCHW = data.normalize_images(images.images_NHWC.permute(0, 3, 1, 2).float() / 255)
    logits_BK = model(images_BCHW)
    correct_B = logits_BK.argmax(1) == images.labels_N
    assert result["test/acc"] == pytest.approx(correct_B.float().mean().item())
    assert result["test/loss"] == pytest.approx(F.cross_entropy(logits_BK, images.labels_N).item(), rel=1e-5)
    of_class = [correct_B[images.labels_N == k].float().mean().item() for k in range(3)]
    assert result["test/balanced_acc"] == pytest.approx(sum(of_class) / 3)
    assert result["test/acc_of/green"] == pytest.approx(correct_B[images.labels_N == 1].float().mean().item())
    confusion_KK = model.confusion.compute()
    assert confusion_KK.sum() == 32
    assert confusion_KK.diag().sum() == correct_B.sum()
    assert "test/top5" not in result  # of three classes


def test_metrics_are_logged_once_per_epoch_and_cover_all_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging them at each step would take as long as all other overhead of the trainer."""
    logged: list[tuple[int, str]] = []
    epochs: list[tuple[int, float]] = []
    log_dict = Classifier.log_dict

    def record(self: Classifier, metrics: Any, **kwargs: Any) -> None:
        logged.append((self.current_epoch, metrics.prefix))
        log_dict(self, metrics, **kwargs)

    class Count(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.samples = 0

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.samples += len(batch.labels_B)
            self.acc = float(pl_module.train_metrics["acc"].compute())

        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            epochs.append((self.samples, self.acc - float(trainer.callback_metrics["train/acc"])))

    monkeypatch.setattr(Classifier, "log_dict", record)
    data = Squares(batch_size=5, size=31)  # 24 samples for training in 5 steps, 7 for validation in 2
    fit(tmp_path, data=data, max_epochs=2, callbacks=[Count()])
    assert logged == [(0, "train/"), (0, "val/"), (1, "train/"), (1, "val/")]
    assert epochs == [(24, 0.0), (24, 0.0)]


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


def test_metrics_do_not_depend_on_batch_size_and_ranks() -> None:
    """Every metric of a test, from batches of random sizes whose samples random numbers of ranks share, and one of
    which lies between 0 and 1, against one computation over all samples by hand."""
    random.seed(0)
    for trial in range(20):
        generator = torch.Generator().manual_seed(trial)
        num_samples, num_classes, world_size = random.randint(1, 40), random.randint(6, 9), random.randint(1, 5)
        logits_NK = torch.randn(num_samples, num_classes, generator=generator)
        logits_NK[: num_samples // 2] = logits_NK[: num_samples // 2].sigmoid()
        labels_N = torch.randint(0, num_classes, (num_samples,), generator=generator)
        losses_N = F.cross_entropy(logits_NK, labels_N, reduction="none")
        ranks = [classifier(num_classes=num_classes) for _ in range(world_size)]
        start = 0
        while start < num_samples:
            size = random.randint(1, 12)
            batch_N = torch.arange(start, min(start + size, num_samples))
            for rank, model in enumerate(ranks):
                shard_B = batch_N[rank::world_size]
                batch = Batch(logits_NK[shard_B], labels_N[shard_B], shard_B, len(batch_N))
                model._update(model.test_metrics, batch, losses_N[shard_B], logits_NK[shard_B])
                model.confusion.update(logits_NK[shard_B], labels_N[shard_B])
            start += size
        first, *others = ranks
        for other in others:
            for name, metric in [*first.test_metrics.items(keep_base=True), ("confusion", first.confusion)]:
                metric.merge_state(other.confusion if name == "confusion" else other.test_metrics[name])
        found = {name: float(value) for name, value in first.test_metrics.compute().items()}
        acc_K, f1_K = class_metrics(first.confusion.compute())
        assert {**found, "f1": float(f1_K.nanmean())} == pytest.approx(by_hand(logits_NK, labels_N, losses_N), abs=1e-5)
        correct_N = logits_NK.argmax(1) == labels_N
        of_classes = [correct_N[labels_N == k].float().mean() for k in range(num_classes)]  # NaN without samples
        torch.testing.assert_close(acc_K, torch.stack(of_classes), equal_nan=True)


def by_hand(logits_NK: torch.Tensor, labels_N: torch.Tensor, losses_N: torch.Tensor) -> dict[str, float]:
    confidences_N, predictions_N = logits_NK.softmax(1).max(1)
    correct_N = predictions_N == labels_N
    bins_N = (confidences_N * 15).long()
    gaps = [(confidences_N - correct_N.float())[bins_N == b].sum().abs() for b in range(15)]
    f1 = [
        2 * int((correct_N & (labels_N == k)).sum()) / int((labels_N == k).sum() + (predictions_N == k).sum())
        for k in labels_N.unique()
    ]
    return {
        "test/loss": float(losses_N.mean()),
        "test/acc": float(correct_N.float().mean()),
        "test/top5": float((logits_NK.topk(5).indices == labels_N[:, None]).any(1).float().mean()),
        "test/calibration_error": float(sum(gaps) / len(labels_N)),
        "f1": sum(f1) / len(f1),
    }


def test_a_class_without_test_images_has_no_accuracy_and_is_not_in_the_mean(tmp_path: Path) -> None:
    class WithoutBlue(Squares):
        def read(self, subset: str) -> ImageSet:
            images_NHWC, labels_N = super().read(subset)
            return ImageSet(images_NHWC, labels_N % 2 if subset == "test" else labels_N)

    model = classifier()
    torch.nn.init.zeros_(model.net.layer.weight)  # pyright: ignore
    model.net.layer.bias.data = torch.tensor([0.0, 0.0, 1.0])  # pyright: ignore  # predicts blue
    tester = trainer(tmp_path, logger=CSVLogger(tmp_path / "csv", name="", version=""))
    (result,) = tester.test(model, datamodule=WithoutBlue())
    assert math.isnan(result["test/acc_of/blue"])
    assert (result["test/acc_of/red"], result["test/f1"]) == (0, 0)
    assert json.loads((tmp_path / "results.json").read_text())["evaluations"][0]["test/acc_of/blue"] is None
    (row,) = csv.DictReader((tmp_path / "csv/metrics.csv").read_text().splitlines())
    assert (row["test/acc_of/blue"], row["test/acc_of/red"]) == ("nan", "0.0")


@pytest.mark.parametrize(
    ("size", "batch_size", "accumulated"),
    [
        (30, 6, 4),  # as batches of 24 and 6
        (31, 6, 4),  # as batches of 24 and 7; the last batch has one sample
        (31, 4, 3),  # as batches of 12, 12 and 7
    ],
)
def test_accumulated_batches_equal_large_ones(size: int, batch_size: int, accumulated: int, tmp_path: Path) -> None:
    weights = []
    for batches in (1, accumulated):
        model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.9))
        data = Squares(size=size, batch_size=batch_size * accumulated // batches, val_fraction=0)
        fit(tmp_path / str(batches), model, data, max_epochs=3, accumulate_grad_batches=batches)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "kwargs", "expected"),
    [
        ({}, {"limit_train_batches": 3}, [12, 12, 6]),
        ({"size": 31}, {}, [12, 12, 12, 12, 7, 7]),
        ({"size": 31, "drop_last": True}, {}, [12, 12, 12, 12, 6]),
        ({"size": 31}, {"accumulate_grad_batches": 1}, [6, 6, 6, 6, 6, 1]),
    ],
)
def test_the_samples_of_a_step(
    data: dict[str, Any], kwargs: dict[str, Any], expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    count = Classifier._samples_of_step
    monkeypatch.setattr(Classifier, "_samples_of_step", lambda *args: found.append(number := count(*args)) or number)
    fit(tmp_path, data=Squares(val_fraction=0, **data), **{"accumulate_grad_batches": 2, **kwargs})
    assert found == expected


def test_a_second_test_resets_the_metrics(tmp_path: Path) -> None:
    model, data, tester = classifier(), Squares(), trainer(tmp_path)
    assert tester.test(model, datamodule=data) == tester.test(model, datamodule=data)
    assert model.confusion.compute().sum() == 30


def test_top5_of_six_classes_counts_the_five_largest_logits() -> None:
    model = classifier(num_classes=6)
    logits_BK = torch.tensor([[6.0, 5, 4, 3, 2, 1]] * 2)
    metric = model.val_metrics["top5"]
    metric.update(logits_BK, torch.tensor([4, 5]))
    assert metric.compute() == 0.5


def test_outputs_of_another_shape_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = attached(Classifier(nn.Flatten(), num_classes=3), tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"shape \(4, 48\); for 3 classes"):
        model.training_step(batch(), 0)


@pytest.mark.parametrize(
    "argument", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"num_classes": 1}, {"layer_decay": 0.0}]
)
def test_a_number_out_of_range_is_an_error(argument: dict[str, Any]) -> None:
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=f"{name} {value}"):
        classifier(**argument)


def test_a_compiled_network_keeps_the_names_of_its_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    model = classifier(compile=True)
    before = model.state_dict().keys()
    fit(tmp_path, model)
    assert compiled[0] is model.net
    assert model.state_dict().keys() == before


def test_the_checkpoint_of_a_model_built_in_python_contains_plain_data(tmp_path: Path) -> None:
    model = classifier()
    fit(tmp_path, model)
    path = tmp_path / "checkpoints" / "last.ckpt"
    loaded = Classifier.load_from_checkpoint(path, net=Linear(), num_classes=3)
    torch.testing.assert_close(loaded.net.state_dict(), model.net.state_dict(), rtol=0, atol=0)


def test_lbfgs_needs_contiguous_weights(tmp_path: Path) -> None:
    def model(**kwargs: Any) -> Classifier:
        net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(36, 3))
        return classifier(net=net, optimizer=lambda params: torch.optim.LBFGS(params, lr=0.1, max_iter=2), **kwargs)

    with pytest.raises(UserError, match=r"LBFGS views .* set model.channels_last to false"):
        fit(tmp_path / "a", model())
    assert fit(tmp_path / "b", model(channels_last=False)).global_step == 4


def test_layer_decay_multiplies_the_learning_rate_of_each_layer_once_more() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2), nn.Linear(2, 3))
    loss = nn.PReLU()  # a loss with a parameter, which is trained as the head
    model = classifier(
        net=net, loss=loss, layer_decay=0.5, optimizer=lambda params: torch.optim.SGD(params, lr=0.8), lr_scheduler=None
    )
    optimizer = model.configure_optimizers()
    assert [(group["lr"], len(group["params"])) for group in optimizer.param_groups] == [(0.2, 4), (0.4, 2), (0.8, 3)]
