"""What a run logs to TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]

from src.callbacks.tensorboard import summary_writer
from src.optim.warmup_decay import WarmupDecay
from tests.toys import Squares, classifier, trainer


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    directory = tmp_path_factory.mktemp("run")
    model = classifier(lr_scheduler=lambda optimizer: WarmupDecay(optimizer))
    model.config = {"seed_everything": 0, "model": {"net": {"class_path": "Linear"}}, "data": {"batch_size": 6}}
    model.config["model"]["optimizer"] = {}
    trainer(directory, logger=True, max_epochs=2, log_every_n_steps=1).fit(model, datamodule=Squares())
    return EventAccumulator(str(directory), {"images": 0, "scalars": 0, "tensors": 0}).Reload()


def test_training_and_validation_metrics_are_logged_once_per_epoch(events: EventAccumulator) -> None:
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert [scalar.step for scalar in events.Scalars(name)] == [3, 7]


def test_the_learning_rate_is_logged_at_each_step(events: EventAccumulator) -> None:
    assert len(events.Scalars("lr-AdamW")) == 8


def test_images(events: EventAccumulator) -> None:
    assert set(events.Tags()["images"]) == {"train/augmented", "test/confusion_matrix"}


def test_hyperparameters_have_the_metrics_of_the_test(events: EventAccumulator) -> None:
    names = events.Tags()["scalars"]
    assert {"best/val/acc", "test/acc"} <= set(names)
    assert "hp_metric" not in names
    assert 0 <= events.Scalars("best/val/acc")[-1].value <= 1


def test_hyperparameters_are_logged_without_a_test(tmp_path: Path) -> None:
    model = classifier()
    model.config = {"seed_everything": 0, "model": {"net": "Linear"}, "data": {"batch_size": 6}}
    trainer(tmp_path, logger=True).fit(model, datamodule=Squares(), test_after_fit=False)
    events = EventAccumulator(str(tmp_path)).Reload()
    started = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    logged = HParamsPluginData.FromString(started).session_start_info.hparams
    assert {name: value.WhichOneof("kind") for name, value in logged.items()} == {
        "seed_everything": "number_value",
        "model.net": "string_value",
        "data.batch_size": "number_value",
    }
    assert [scalar.step for scalar in events.Scalars("best/val/acc")] == [4]


def test_without_a_tensorboard_logger_there_is_no_writer(tmp_path: Path) -> None:
    assert summary_writer(trainer(tmp_path, logger=CSVLogger(tmp_path))) is None
    assert summary_writer(trainer(tmp_path, logger=False)) is None


def test_a_resumed_run_logs_each_step_once(tmp_path: Path) -> None:
    for epochs, resume in ((1, None), (2, str(tmp_path))):
        fitted = trainer(tmp_path, logger=True, max_epochs=epochs)
        fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False, resume=resume)
    scalars = EventAccumulator(str(tmp_path)).Reload().Scalars("val/acc")
    assert [scalar.step for scalar in scalars] == [3, 7]
    assert all(torch.isfinite(torch.tensor(scalar.value)) for scalar in scalars)
