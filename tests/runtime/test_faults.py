"""Faults during a run (disk, data, permissions): one message, the last good checkpoint is kept, and the run resumes."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, Trainer

from src.classifier import Classifier
from src.errors import UserError
from src.runtime.checkpoint_file import read
from tests.data.test_cifar10 import Fakes, copy, fake  # noqa: F401 a fixture is found by its name
from tests.toys import Linear, Squares, classifier, trainer


class AfterTheFirstEpoch(Callback):
    """Does something once one epoch is saved and the second is under way."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.act = act

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 0):
            self.act()


@pytest.fixture
def small_files() -> Iterator[Callable[[], None]]:
    """Lets the system refuse to write more than 4096 bytes to a file, as a full disk would, until the test ends."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_fills_up(small_files: Callable[[], None], tmp_path: Path) -> None:
    fitted = trainer(tmp_path, max_epochs=3, callbacks=AfterTheFirstEpoch(small_files))
    with pytest.raises(UserError, match=r"could not be written: .*; the previous checkpoint is unchanged"):
        fitted.fit(classifier(), datamodule=Squares())
    assert read(tmp_path / "checkpoints" / "last.ckpt")["epoch"] == 1
    assert read(tmp_path / "checkpoints" / "best.ckpt")["epoch"] == 0


def test_data_that_are_lost_are_missed_when_they_are_next_read(
    fake: Fakes,  # noqa: F811
    tmp_path: Path,
) -> None:
    Data, root = fake
    there, run = tmp_path / "data", tmp_path / "run"
    folder = copy(root, there)
    run.mkdir()
    (run / "config.yaml").touch()

    def model() -> Classifier:
        return classifier(net=Linear(10, 3072), num_classes=10)

    lose = AfterTheFirstEpoch(lambda: folder.rename(there / "elsewhere"))
    with pytest.raises(
        UserError, match=rf"{there}/cifar-10-python.tar.gz does not exist, and no mirror serves it"
    ):  # after training, which has the images in memory
        trainer(run, max_epochs=2, callbacks=lose).fit(model(), datamodule=Data(there))
    saved = read(run / "checkpoints" / "last.ckpt")
    assert saved["epoch"] == 2
    shutil.move(there / "elsewhere", folder)
    trainer(run, max_epochs=2).fit(model(), datamodule=Data(there), resume=str(run))
    assert (run / "results.json").is_file()
