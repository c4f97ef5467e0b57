"""The help of a subcommand."""

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
    """The lines that a command prints before it exits with 0."""

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


def test_help_is_short(shown: Shown) -> None:
    lines = shown("fit", "--help")
    assert len(lines) < 200
    assert lines[0] == "usage: python -m src fit --config FILE [--KEY VALUE ...]"


def test_help_has_all_arguments_of_this_project_and_the_common_ones_of_lightning(shown: Shown) -> None:
    lines = shown("fit", "--help")
    assert options(lines, "trainer") == own(Trainer) - {"default_callbacks"} | COMMON | {"help"}
    assert options(lines, "model") == own(Classifier) - {"num_classes", "multi_label"}  # which the data say
    assert own(lightning.Trainer) >= COMMON


def test_help_names_only_classes_of_this_project(shown: Shown) -> None:
    text = " ".join(shown("fit", "--help"))
    text = " ".join(text.split())
    assert "for example src.data.CIFAR10, src.data." in text
    assert "src.models.SimpleCNN, src.models.DeepCNN" in text
    assert "for example src.optim.Muon)" in text
    assert "known subclasses" not in text
    assert "Literal" not in text


def test_help_names_the_options_for_further_help(shown: Shown) -> None:
    text = " ".join(" ".join(shown("validate", "--help")).split())
    for words in ("--trainer.help", "--data.help src.data.CIFAR10", "--model.net.help src.models.DeepCNN"):
        assert words in text


def test_all_arguments_of_the_trainer(shown: Shown) -> None:
    names = options(shown("fit", "--trainer.help"), "trainer")
    assert names >= {"gradient_clip_val", "profiler", "max_epochs", "precision"}


def test_the_arguments_of_a_class(shown: Shown) -> None:
    names = options(shown("fit", "--data.help", "src.data.CIFAR10"), "data")
    assert names >= {"data_dir", "batch_size", "split"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "--data.help", "src.data.CIFAR10"],
        ["fit", "--model.optimizer.help", "torch.optim.AdamW"],
        ["test", "--trainer.help"],
        ["doctor", "--help"],
    ],
)
def test_usage_names_the_command(arguments: list[str], shown: Shown) -> None:
    assert shown(*arguments)[0].startswith("usage: python -m src ")
