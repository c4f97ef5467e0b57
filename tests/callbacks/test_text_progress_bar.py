"""One line of text per epoch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from src.callbacks import TextProgressBar
from tests.toys import Squares, classifier, trainer


def lines(directory: Path, capsys: pytest.CaptureFixture[str], **kwargs: Any) -> list[str]:
    trainer(directory, **kwargs).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]


def test_an_epoch_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = lines(tmp_path, capsys, max_epochs=2)
    form = r"epoch \d/2: train/loss [\d.]+, train/acc [\d.]+, val/loss [\d.]+, val/acc [\d.]+, [\d.]+ s"
    assert len(printed) == 2
    assert all(re.fullmatch(form, line) for line in printed)


def test_an_epoch_without_validation_shows_no_validation_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = lines(tmp_path, capsys, max_epochs=3, check_val_every_n_epoch=2)
    assert ["val/" in line for line in printed] == [False, True, False]


def test_without_a_last_epoch_the_number_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = lines(tmp_path, capsys, max_epochs=-1, max_steps=6)
    assert [line.split(":")[0] for line in printed] == ["epoch 1", "epoch 2"]


def test_the_metrics_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = lines(tmp_path, capsys, callbacks=TextProgressBar(["val/acc", "unknown"]))
    assert re.fullmatch(r"epoch 1/1: val/acc [\d.]+, [\d.]+ s", printed[0])
