"""What a run logs to TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.scalar_layout import LAYOUT
from src.callbacks.tensorboard import RunTensorBoardLogger, summary_writer
from src.data import ImageSet
from src.models import DeepCNN
from src.optim.warmup_decay import WarmupDecay
from tests.toys import Squares, classifier, trainer

IMAGES = {
    *("view_train/augmented", "view_train/first_layer_initial", "view_train/first_layer_trained"),
    *("view_test/confusion_matrix", "view_test/reliability", "view_test/classes"),
    *("view_test/mistakes", "view_test/mistakes_why", "view_test/highest_loss", "view_test/lowest_loss"),
}


class LargeSquares(Squares):
    """Squares of 8 x 8 pixels."""

    def read(self, subset: str) -> ImageSet:
        images_NHWC, labels_N = super().read(subset)
        return ImageSet(images_NHWC.repeat(1, 2, 2, 1), labels_N)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    directory = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    net = DeepCNN(num_classes=3, image_size=8)
    model = classifier(net=net, lr_scheduler=lambda optimizer: WarmupDecay(optimizer))
    model.config = {"seed_everything": 0, "trainer": {"max_epochs": 2}, "model": {"net": "DeepCNN"}}
    trainer(directory, logger=True, max_epochs=2, log_every_n_steps=1).fit(model, datamodule=LargeSquares())
    return EventAccumulator(str(directory), {"images": 0, "scalars": 0, "tensors": 0}).Reload()


def test_training_and_validation_metrics_are_logged_once_per_epoch(events: EventAccumulator) -> None:
    for name in ("train/loss", "train/acc", "val/loss", "val/acc", "watch/seconds_per_epoch"):
        assert [scalar.step for scalar in events.Scalars(name)] == [3, 7]


def test_the_learning_rate_is_logged_at_each_step(events: EventAccumulator) -> None:
    assert [scalar.step for scalar in events.Scalars("train/lr")] == list(range(8))


def test_no_chart_has_one_value_or_is_of_the_test_or_the_epoch(events: EventAccumulator) -> None:
    names = events.Tags()["scalars"]
    assert {name.split("/")[0] for name in names} == {"train", "val", "watch"}
    assert min(len(events.Scalars(name)) for name in names) > 1


def test_training_and_validation_are_the_groups_that_tensorboard_shows_first(events: EventAccumulator) -> None:
    names = events.Tags()["scalars"] + events.Tags()["images"]
    assert sorted({name.split("/")[0] for name in names})[:2] == ["train", "val"]


def test_images(events: EventAccumulator) -> None:
    assert set(events.Tags()["images"]) == IMAGES
    assert {image.width for name in IMAGES for image in events.Images(name)} == {350}


def test_texts(events: EventAccumulator) -> None:
    shown = {
        name: events.Tensors(name)[-1].tensor_proto.string_val[0].decode()
        for name in events.Tags()["tensors"]
        if name.endswith("text_summary")
    }
    assert list(shown) == [f"{name}/text_summary" for name in ("run/config", "run/manifest", "test/metrics")]
    config, manifest, metrics = shown.values()
    assert "trainer:\n  max_epochs: 2\n" in config
    assert re.search(r"^\| packages torch \| 2\.", manifest, re.MULTILINE)
    assert re.search(r"^\| test/acc_of/red \| [01]\.\d{4} \|$", metrics, re.MULTILINE)


def test_each_chart_of_the_layout_has_scalars(events: EventAccumulator) -> None:
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    names = events.Tags()["scalars"]
    for charts in LAYOUT.values():
        for _, tags in charts.values():
            assert all(any(re.search(tag, name) for name in names) for tag in tags)


@pytest.mark.parametrize(("groups", "shown"), [(4, {f"train/lr/pg{n}" for n in range(1, 5)}), (5, {"train/lr"})])
def test_of_many_parameter_groups_there_is_one_learning_rate(groups: int, shown: set[str], tmp_path: Path) -> None:
    logger = RunTensorBoardLogger(tmp_path, name="", version="")
    logger.log_metrics({f"lr-SGD/pg{n}": 0.1 * n for n in range(1, groups + 1)}, 0)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == shown
    if groups > 4:
        assert events.Scalars("train/lr")[0].value == pytest.approx(0.5)


def test_without_a_tensorboard_logger_there_is_no_writer(tmp_path: Path) -> None:
    assert summary_writer(trainer(tmp_path, logger=CSVLogger(tmp_path))) is None
    assert summary_writer(trainer(tmp_path, logger=False)) is None


def test_a_resumed_run_logs_each_step_once(tmp_path: Path) -> None:
    for epochs, resume in ((1, None), (2, str(tmp_path))):
        fitted = trainer(tmp_path, logger=True, max_epochs=epochs, log_every_n_steps=1)
        fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False, resume=resume)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [scalar.step for scalar in events.Scalars("watch/gradient_norm")] == list(range(8))
    scalars = events.Scalars("val/acc")
    assert [scalar.step for scalar in scalars] == [3, 7]
    assert all(torch.isfinite(torch.tensor(scalar.value)) for scalar in scalars)
