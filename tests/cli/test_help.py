"""The help of a subcommand: short, this project's arguments all there, the rest to be had."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import lightning
import pytest

from src.classifier import Classifier
from src.cli.help import COMMON
from src.runtime.trainer import Trainer

Shown = Callable[..., list[str]]


@pytest.fixture
def shown(cli: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Shown:
    """The lines that a command prints before it ends with code 0."""

    def run(*arguments: str) -> list[str]:
        with pytest.raises(SystemExit) as stop:
            cli(*arguments)
        assert stop.value.code == 0
        return capsys.readouterr().out.splitlines()

    return run


def options(lines: list[str], prefix: str) -> set[str]:
    """The names in `  --prefix.name ...`."""
    words = {line.split()[0].rstrip(",") for line in lines if line.startswith(f"  --{prefix}.")}
    return {word.removeprefix(f"--{prefix}.") for word in words}


def own(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters) - {"kwargs"}


def test_it_is_short(shown: Shown) -> None:
    lines = shown("fit", "--help")
    assert len(lines) < 200
    assert lines[0] == "usage: python -m src [options] fit --config FILE [--KEY VALUE ...]"


def test_it_has_all_of_this_projects_arguments_and_the_common_ones_of_lightning(shown: Shown) -> None:
    lines = shown("fit", "--help")
    assert options(lines, "trainer") == own(Trainer) - {"default_callbacks"} | COMMON | {"help"}
    assert options(lines, "model") == own(Classifier) - {"num_classes"}  # which the data say
    assert own(lightning.Trainer) >= COMMON


def test_it_names_this_projects_classes_and_no_others(shown: Shown) -> None:
    text = " ".join(shown("fit", "--help"))
    text = " ".join(text.split())
    assert "for example src.data.CIFAR10, src.data." in text
    assert "src.models.SimpleCNN, src.models.DeepCNN" in text
    assert "for example src.optim.Muon)" in text
    assert "known subclasses" not in text
    assert "Literal" not in text


def test_it_says_how_to_see_the_rest(shown: Shown) -> None:
    text = " ".join(" ".join(shown("validate", "--help")).split())
    for words in ("--trainer.help", "--data.help src.data.CIFAR10", "--model.net.help src.models.DeepCNN"):
        assert words in text


def test_the_rest_of_the_trainer(shown: Shown) -> None:
    names = options(shown("fit", "--trainer.help"), "trainer")
    assert names >= {"gradient_clip_val", "profiler", "max_epochs", "precision"}


def test_the_arguments_of_a_class(shown: Shown) -> None:
    names = options(shown("fit", "--data.help", "src.data.CIFAR10"), "data")
    assert names >= {"data_dir", "batch_size", "split"}
