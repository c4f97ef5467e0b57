"""The callbacks of every run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lightning import Callback

from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.results import RunResults
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.stop_on_signal import StopOnSignal
from tests.conftest import TINY_WITH_IMAGES
from tests.toys import trainer


def names(callbacks: list[Callback]) -> list[str]:
    return [type(callback).__name__ for callback in callbacks]


def test_as_config_describes_what_the_constructor_makes() -> None:
    defaults, config = DefaultCallbacks(), DefaultCallbacks.as_config()
    for argument, entry in config.items():
        callback = getattr(defaults, argument)
        module, _, name = entry["class_path"].rpartition(".")
        assert type(callback) is getattr(importlib.import_module(module), name)
        assert {key: getattr(callback, key) for key in entry["init_args"]} == entry["init_args"]
    assert names(defaults.present()) == [entry["class_path"].rpartition(".")[2] for entry in config.values()]


def test_none_removes_a_callback_and_an_instance_replaces_it() -> None:
    class Own(Callback):
        pass

    expected = names(DefaultCallbacks().present())
    at = expected.index("ConfusionMatrix")
    assert names(DefaultCallbacks(confusion_matrix=None).present()) == expected[:at] + expected[at + 1 :]
    own = Own()
    assert DefaultCallbacks(confusion_matrix=own).present()[at] is own


def test_results_precede_the_stop_and_the_last_checkpoint() -> None:
    """The order at the end of training: a run stopped there has its results, and its checkpoint is the last file."""
    types = [type(callback) for callback in DefaultCallbacks().present()]
    assert types.index(RunResults) < types.index(StopOnSignal) < types.index(RunCheckpoints) == len(types) - 1


def test_two_trainers_do_not_share_callbacks(tmp_path: Path) -> None:
    first, second = (trainer(tmp_path).callbacks for _ in range(2))  # pyright: ignore[reportAttributeAccessIssue]
    assert names(first) == names(second)
    assert {id(callback) for callback in first}.isdisjoint(id(callback) for callback in second)


def test_print_config_shows_the_default_callbacks_and_null_removes_one(
    cli: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli("fit", *TINY_WITH_IMAGES, "--trainer.default_callbacks.confusion_matrix=null", "--print_config")
    config = yaml.safe_load(capsys.readouterr().out)["trainer"]["default_callbacks"]
    assert config.pop("confusion_matrix") is config.pop("report") is None
    shown = [entry["class_path"].rpartition(".")[2] for entry in config.values()]
    assert shown == names(DefaultCallbacks(confusion_matrix=None, report=None).present())
