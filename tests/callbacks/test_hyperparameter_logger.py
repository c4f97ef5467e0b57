"""TensorBoard's page HPARAMS."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # pyright: ignore[reportAttributeAccessIssue]

from src.callbacks.hyperparameter_logger import flatten
from tests.toys import Squares, classifier, trainer

SETTINGS = {"model.net": "Linear", "data.batch_size": 6, "data.drop_last": "false"}


def test_a_nested_configuration_is_flattened() -> None:
    augment = [{"class_path": "x.Flip"}, {"class_path": "x.Shift", "init_args": {"pixels": 2, "fill": "zero"}}]
    config = {
        "net": {"class_path": "a.B", "init_args": {"size": 3, "net": {"class_path": "C"}}, "dict_kwargs": {"k": 1.5}},
        "augment": augment,
        "widths": [64, 256],
        "none": None,
        "drop_last": False,
    }
    assert flatten(config) == {
        "net": "B",
        "net.size": 3,
        "net.net": "C",
        "net.k": 1.5,
        "augment": "Flip, Shift(pixels=2, fill=zero)",
        "widths": "64, 256",
        "none": "null",
        "drop_last": "false",
    }


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    directory = tmp_path_factory.mktemp("logs") / "recipe" / "run"
    model = classifier()
    model.settings = SETTINGS
    trainer(directory, logger=True).fit(model, datamodule=Squares())
    return EventAccumulator(str(directory / "hparams")).Reload()


def test_the_settings_of_a_run_are_its_columns(events: EventAccumulator) -> None:
    started = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    session = HParamsPluginData.FromString(started).session_start_info
    kinds = {name: value.WhichOneof("kind") for name, value in session.hparams.items()}
    assert kinds == {
        "model.net": "string_value",
        "data.batch_size": "number_value",
        "data.drop_last": "string_value",  # TensorBoard shows the other kind as 0.0000
    }
    assert session.group_name == "recipe/run"


def test_no_run_decides_the_columns_of_the_others(events: EventAccumulator) -> None:
    assert set(events.PluginTagToContent("hparams")) == {"_hparams_/session_start_info"}


def test_the_metrics_are_the_only_scalars(events: EventAccumulator) -> None:
    names = ["acc_best_val", "acc_test", "loss_test", "parameters", "seconds"]
    assert sorted(events.Tags()["scalars"]) == [f"values/{name}" for name in names]
    assert events.Scalars("values/parameters")[0].value == 3 * 48 + 3
    assert 0 <= events.Scalars("values/acc_best_val")[0].value <= 1


def test_a_run_without_settings_has_no_line(tmp_path: Path) -> None:
    trainer(tmp_path, logger=True).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    events = EventAccumulator(str(tmp_path / "hparams")).Reload()
    with pytest.raises(KeyError):
        events.PluginTagToContent("hparams")
