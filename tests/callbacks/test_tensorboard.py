"""What a run leaves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.callbacks.tensorboard import writer
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


def test_curves_of_training_and_validation_have_a_point_an_epoch(events: EventAccumulator) -> None:
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert [point.step for point in events.Scalars(name)] == [3, 7]


def test_the_learning_rate_has_a_point_a_step(events: EventAccumulator) -> None:
    assert len(events.Scalars("lr-RMSprop")) == 8


def test_images(events: EventAccumulator) -> None:
    assert set(events.Tags()["images"]) == {"train/augmented", "test/confusion_matrix"}


def test_hyperparameters_come_with_real_metrics(events: EventAccumulator) -> None:
    scalars = events.Tags()["scalars"]
    assert "best/val/acc" in scalars
    assert "test/acc" in scalars
    assert "hp_metric" not in scalars
    assert 0 <= events.Scalars("best/val/acc")[-1].value <= 1


def test_another_logger_has_no_writer(tmp_path: Path) -> None:
    assert writer(trainer(tmp_path, logger=CSVLogger(tmp_path))) is None
    assert writer(trainer(tmp_path, logger=False)) is None


def test_a_resumed_run_draws_each_point_once(tmp_path: Path) -> None:
    for epochs, resume in ((1, None), (2, str(tmp_path))):
        (tmp_path / "config.yaml").touch()
        again = trainer(tmp_path, logger=True, max_epochs=epochs)
        again.fit(classifier(), datamodule=Squares(), test_after_fit=False, resume=resume)
    points = EventAccumulator(str(tmp_path)).Reload().Scalars("val/acc")
    assert [point.step for point in points] == [3, 7]
    assert all(torch.isfinite(torch.tensor(point.value)) for point in points)
