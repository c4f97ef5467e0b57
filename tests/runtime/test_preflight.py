"""The checks before the first step."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR, SequentialLR

from src.classifier import Classifier
from src.data.augment import RandomResizedCrop
from src.errors import UserError
from src.runtime.preflight import check_network, check_optimizers, counts_of_classes, smallest_batch
from src.runtime.run_checkpoints import RunCheckpoints
from tests.toys import Attributes, Linear, Squares, classifier, fit, trainer

IMAGES = torch.zeros(2, 3, 4, 4)


def test_the_check_restores_the_training_mode_of_each_module() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(48, 3))
    net[1].eval()
    check_network(net, IMAGES, 3)
    assert [module.training for module in net.modules()] == [True, True, False, True]


def test_the_check_runs_in_both_modes_without_gradients() -> None:
    modes: list[tuple[bool, bool]] = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    net.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    check_network(net, IMAGES, 3)
    assert modes == [(False, False), (True, False)]


def test_a_network_that_does_not_accept_the_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.net \(Linear\) does not take images of shape \(2, 3, 4, 4\)"):
        check_network(nn.Linear(5, 3), IMAGES, 3)


def test_a_network_that_does_not_accept_the_training_crops_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = Squares(augment=[RandomResizedCrop(3)])
    message = r"images of shape \(2, 3, 3, 3\) in training mode, to which data\.augment crops them.*Crop to \(4, 4\)"
    with pytest.raises(UserError, match=message):
        fit(tmp_path / "a", data=crops)
    any_size = nn.Sequential(nn.AdaptiveAvgPool2d(1), Linear(3, 3))
    fit(tmp_path / "b", classifier(net=any_size), crops)
    assert "images of shape (3, 4, 4), in training cropped to (3, 3, 3), 3 classes" in capsys.readouterr().out


def test_a_network_with_another_number_of_classes_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    with pytest.raises(UserError, match=r"returns \(2, 7\) for images .* with 3 classes it must return \(2, 3\)"):
        check_network(net, IMAGES, 3)


def test_a_network_that_does_not_return_a_tensor_is_refused() -> None:
    with pytest.raises(UserError, match="returns tuple, not a tensor of logits"):
        check_network(nn.LSTM(4, 3), torch.zeros(3, 4), 3)


class Auxiliary(nn.Module):
    """Returns logits, and in training mode also auxiliary ones."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Linear()

    def forward(self, images_BCHW: torch.Tensor) -> object:
        logits_BK = self.net(images_BCHW)
        return (logits_BK, logits_BK) if self.training else logits_BK


def test_a_network_with_another_output_in_training_is_refused() -> None:
    with pytest.raises(UserError, match=r"returns tuple in training mode, not a tensor .*aux_logits false"):
        check_network(Auxiliary(), IMAGES, 3)


def test_the_check_restores_statistics_and_random_numbers() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), Linear())
    before, state = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    check_network(net, IMAGES + 1, 3, smallest=1)
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("data", "world_size", "limit", "smallest"),
    [
        ({"size": 25}, 1, 1.0, 1),  # 4 batches of 6, one of 1
        ({"size": 26}, 1, 1.0, 2),
        ({"size": 26}, 2, 1.0, 1),
        ({"size": 27}, 2, 1.0, 1),  # the last: 2 and 1
        ({"size": 28}, 2, 1.0, 2),
        ({"size": 26}, 3, 1.0, 1),  # the last: 1, 1 and 0
        ({"size": 25, "drop_last": True}, 1, 1.0, 6),
        ({"size": 25}, 1, 2, 6),
        ({"size": 24}, 6, 1.0, 1),
        ({"size": 24, "batch_size": 1}, 2, 1.0, 2),  # which the loader reports
    ],
)
def test_the_smallest_batch(data: dict[str, Any], world_size: int, limit: float, smallest: int, tmp_path: Path) -> None:
    own = Squares(val_fraction=0, **data)
    own.setup("fit")
    assert smallest_batch(trainer(tmp_path, limit_train_batches=limit), own, world_size) == smallest


def test_batch_norm_on_a_last_batch_of_one_image_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(Linear(8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    with pytest.raises(UserError, match=r"cannot train on a batch of one image.* Set data\.drop_last true"):
        fit(tmp_path / "a", classifier(net=net), Squares(size=25, val_fraction=0))
    fit(tmp_path / "b", classifier(net=net), Squares(size=25, val_fraction=0, drop_last=True))


def test_an_optimizer_that_would_wait_for_other_processes_without_end_is_refused() -> None:
    parameters = list(Linear(3, 16).parameters())
    with pytest.raises(UserError, match=r"LBFGS evaluates .* set trainer\.devices and trainer\.num_nodes to 1"):
        check_optimizers([torch.optim.LBFGS(parameters)], 2)
    check_optimizers([torch.optim.LBFGS(parameters)], 1)
    check_optimizers([torch.optim.SGD(parameters)], 2)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping("val_loss"), "EarlyStopping monitors val_loss, which is not logged; did you mean val/loss?"),
        (EarlyStopping("xyz"), "choose from train/acc, train/loss, val/acc, val/loss"),
        (ModelCheckpoint(monitor="val_acc"), "ModelCheckpoint monitors val_acc, .* did you mean val/acc?"),
        (RunCheckpoints("train/acc"), "RunCheckpoints monitors train/acc, .* did you mean val/acc?"),
    ],
)
def test_a_monitored_metric_must_exist(callback: Callback, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        fit(tmp_path, callbacks=[callback])


def test_the_f1_score_of_several_classes_can_be_monitored(tmp_path: Path) -> None:
    stop = EarlyStopping("val/f1", mode="max", check_on_train_epoch_end=False)
    assert fit(tmp_path / "a", classifier(multi_label=True), Attributes(), callbacks=[stop]).state.finished
    with pytest.raises(UserError, match=r"EarlyStopping monitors val/acc, .* did you mean val/map"):
        fit(tmp_path / "b", classifier(multi_label=True), Attributes(), callbacks=[EarlyStopping("val/acc")])


@pytest.mark.parametrize(("fraction", "limit"), [(0, 1.0), (0.2, 0)])
def test_without_validation_its_metrics_cannot_be_monitored(fraction: float, limit: float, tmp_path: Path) -> None:
    data, reason = Squares(val_fraction=fraction), r"monitors val/loss, .* there is no validation"
    with pytest.raises(UserError, match=f"EarlyStopping {reason}"):
        fit(tmp_path / "a", data=data, callbacks=[EarlyStopping("val/loss")], limit_val_batches=limit)
    with pytest.raises(UserError, match=f"ReduceLROnPlateau {reason}"):
        model = classifier(lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/loss"))
        fit(tmp_path / "b", model, data, limit_val_batches=limit)


def test_metrics_of_code_of_ones_own_can_be_monitored(tmp_path: Path) -> None:
    class Margin(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val/margin", 1.0)

    class Own(Classifier):
        def on_validation_epoch_end(self) -> None:
            self.log("val/margin", 1.0)

    fit(tmp_path / "a", callbacks=[Margin(), EarlyStopping("val/margin")])
    fit(tmp_path / "b", Own(Linear(), num_classes=3), callbacks=[EarlyStopping("val/margin")])


SGD = partial(torch.optim.SGD, lr=0.1)


@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval':RuntimeWarning")
@pytest.mark.parametrize(
    ("interval", "total_steps", "kwargs", "fails_at"),
    [
        ("step", 8, {}, None),
        ("step", 7, {}, "step 8 of 8"),
        ("step", 4, {"accumulate_grad_batches": 2}, None),
        ("step", 3, {"accumulate_grad_batches": 2}, "step 4 of 4"),
        ("step", 3, {"max_steps": 3}, None),
        ("step", 3, {"limit_train_batches": 2}, "step 4 of 4"),
        ("epoch", 2, {}, None),
        ("epoch", 1, {}, "step 2 of 2"),
    ],
)
def test_a_schedule_must_last_as_long_as_the_training(
    interval: Any, total_steps: int, kwargs: dict[str, Any], fails_at: str | None, tmp_path: Path
) -> None:
    def model() -> Classifier:
        schedule = partial(OneCycleLR, max_lr=0.1, total_steps=total_steps)
        return classifier(optimizer=SGD, lr_scheduler=schedule, lr_interval=interval)

    if fails_at:
        with pytest.raises(UserError, match=f"the schedule OneCycleLR fails at {fails_at}: Tried to step"):
            fit(tmp_path, model(), max_epochs=2, **kwargs)
    else:
        fit(tmp_path, model(), **{"max_epochs": 2, **kwargs})


def test_a_schedule_is_not_tried_where_accumulation_changes(tmp_path: Path) -> None:
    model = classifier(optimizer=SGD, lr_scheduler=partial(OneCycleLR, max_lr=0.1, total_steps=6))
    accumulation = GradientAccumulationScheduler({0: 1, 1: 2})  # 4 steps, then 2
    assert fit(tmp_path, model, max_epochs=2, callbacks=[accumulation]).global_step == 6


def test_a_schedule_within_another_must_last_too(tmp_path: Path) -> None:
    def schedule(optimizer: torch.optim.Optimizer) -> LRScheduler:
        return SequentialLR(optimizer, [ConstantLR(optimizer), OneCycleLR(optimizer, 0.1, total_steps=4)], [3])

    model = classifier(optimizer=SGD, lr_scheduler=schedule)
    with pytest.raises(UserError, match="the schedule SequentialLR fails at step 8 of 8"):
        fit(tmp_path, model, max_epochs=2)


def test_a_resumed_schedule_is_checked_from_its_step(tmp_path: Path) -> None:
    def model() -> Classifier:
        schedule = partial(OneCycleLR, max_lr=0.1, total_steps=8)
        return classifier(optimizer=SGD, lr_scheduler=schedule)

    fit(tmp_path, model())
    with pytest.raises(UserError, match="fails at step 9 of 12"):
        fit(tmp_path, model(), resume=True, max_epochs=3)
    fit(tmp_path, model(), resume=True, max_epochs=2)


def test_a_fit_prints_the_size_of_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path)
    assert "24 training and 6 validation images of shape (3, 4, 4), 3 classes" in capsys.readouterr().out


def test_counts_of_classes() -> None:
    data = Squares(size=31, val_fraction=0.0)
    data.setup("fit")
    assert counts_of_classes(data) == "red 11, green 10, blue 10"
    data.classes = tuple("abcdefghijkl")
    assert counts_of_classes(data) == "from 0 (d) to 11 (a)"
