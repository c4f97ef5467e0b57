"""Fixtures of all tests: the command line in this process, and the real CIFAR-10 if it is available."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from src.cli.main import main
from src.cli.overview import answer

ROOT = Path(__file__).parent.parent

# caplog reads the root logger. Whether Lightning's logger passes its records on depends on what is imported first.
logging.getLogger("lightning.pytorch").propagate = True

# `make test` runs two pytest processes; with one thread each they do not compete for two cores.
torch.set_num_threads(1)

# A fit that takes a second: 120 synthetic shapes of 12 x 12 pixels, 96 for training in four steps per epoch.
TINY_WITH_IMAGES = [
    *("--data=Shapes", "--data.train_size=120", "--data.test_size=40", "--data.image_size=12"),
    *("--data.val_fraction=0.2", "--data.batch_size=24", "--data.split=stratified"),
    *("--model.net=src.models.SimpleCNN", "--model.net.image_size=12"),
    *("--trainer.max_epochs=1", "--trainer.precision=32-true", "--trainer.accelerator=cpu"),
    *("--trainer.enable_progress_bar=false", "--trainer.default_callbacks.report=null"),
]
# What draws images takes longer than the rest.
IMAGES = ["preview", "filters", "projector", "confusion_matrix", "reliability", "class_scores"]
IMAGES += ["mistakes", "mistake_maps", "loss_extremes"]
TINY = [*TINY_WITH_IMAGES, *(f"--trainer.default_callbacks.{name}=null" for name in IMAGES)]

# Tests of a server or of another package, each with a command of its own: they run only where `-m` names them.
SUITES = ("browser", "cluster", "demo", "docs", "export", "loggers", "parts", "sweep")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [suite for suite in SUITES if suite not in config.option.markexpr]
    deselected = [item for item in items if any(item.get_closest_marker(suite) for suite in left_out)]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]


@pytest.fixture
def tiny() -> list[str]:
    """Arguments of a fit that takes a second."""
    return list(TINY)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`cli("fit", ...)` runs the command line in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def run(*arguments: str) -> None:
        main(list(arguments))

    return run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny run."""
    directory = tmp_path_factory.mktemp("tiny") / "run"
    main(["fit", *TINY, f"--trainer.default_root_dir={directory}"])
    return directory


@pytest.fixture
def fitted(cli: Callable[..., None], tiny_run: Path) -> Path:
    """A copy of the tiny run in the folder of the test."""
    return shutil.copytree(tiny_run, Path("logs/a/b"))


@pytest.fixture
def fails(cli: Callable[..., None], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Runs the command line, which must exit with code 2 and one paragraph and write no file; returns the
    paragraph."""

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as raised:
            cli(*arguments)
        text = capsys.readouterr().err
        assert raised.value.code == 2
        assert text.count("error: ") == 1
        assert "Traceback" not in text
        assert sorted(tmp_path.rglob("*")) == before
        return text[text.index("error: ") + len("error: ") :]

    return run


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The same of the subcommands that are answered without torch, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert answer(list(arguments)) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1, printed
        assert sorted(tmp_path.rglob("*")) == before
        return printed.err

    return run


@pytest.fixture
def cifar10_dir() -> Path:
    """The folder with the real CIFAR-10, from CIFAR10_DIR."""
    folder = os.environ.get("CIFAR10_DIR")
    if folder:
        return Path(folder).resolve()
    if os.environ.get("REQUIRE_CIFAR10"):
        pytest.fail("CIFAR10_DIR is not set, and REQUIRE_CIFAR10 does not allow a skip")
    pytest.skip("set CIFAR10_DIR to a folder that contains cifar-10-batches-py to run this test")
