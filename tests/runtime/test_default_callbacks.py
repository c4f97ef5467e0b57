"""The callbacks of every run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning import Callback

from src.callbacks.confusion_matrix import ConfusionMatrix
from src.runtime.default_callbacks import DefaultCallbacks
from src.runtime.results import RunResults
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.stop_on_signal import StopOnSignal
from tests.toys import trainer


def names(callbacks: list[Callback]) -> list[str]:
    return [f"{type(callback).__module__}.{type(callback).__qualname__}" for callback in callbacks]


def short(entry: dict[str, Any]) -> str:
    """The class name of a class path, since jsonargparse shortens the path of a class that a package exports."""
    return entry["class_path"].rpartition(".")[2]


def test_as_config_describes_what_the_constructor_makes() -> None:
    config = DefaultCallbacks.as_config()
    assert [entry["class_path"] for entry in config.values()] == names(DefaultCallbacks().present())
    for argument, entry in config.items():
        module, _, name = entry["class_path"].rpartition(".")
        configured = getattr(importlib.import_module(module), name)(**entry["init_args"])
        default = getattr(DefaultCallbacks(), argument)
        assert {k: v for k, v in vars(configured).items() if k in entry["init_args"]} == entry["init_args"]
        assert vars(configured).keys() == vars(default).keys()
        assert all(getattr(default, key) == value for key, value in entry["init_args"].items())


def test_none_removes_a_callback_and_an_instance_replaces_it() -> None:
    class Own(Callback):
        pass

    expected = names(DefaultCallbacks().present())
    at = expected.index(names([ConfusionMatrix()])[0])
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


def test_print_config_shows_the_default_callbacks(
    cli: Callable[..., None], tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def configured(*arguments: str) -> dict[str, dict]:
        with pytest.raises(SystemExit):
            cli("fit", *tiny, *arguments, "--print_config")
        return yaml.safe_load(capsys.readouterr().out)["trainer"]["default_callbacks"]

    expected = {name: short(entry) for name, entry in DefaultCallbacks.as_config().items()}
    assert {name: short(entry) for name, entry in configured().items()} == expected
    without = configured("--trainer.default_callbacks.confusion_matrix=null")
    assert without.pop("confusion_matrix") is None
    assert without.keys() == expected.keys() - {"confusion_matrix"}
