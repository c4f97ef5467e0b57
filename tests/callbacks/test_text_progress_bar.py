"""One plain line an epoch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.toys import Squares, classifier, trainer


def test_an_epoch_is_one_plain_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path, max_epochs=2).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    form = r"epoch \d/2: train/loss [\d.]+, train/acc [\d.]+, val/loss [\d.]+, val/acc [\d.]+, [\d.]+ s"
    assert len(lines) == 2
    assert all(re.fullmatch(form, line) for line in lines)
