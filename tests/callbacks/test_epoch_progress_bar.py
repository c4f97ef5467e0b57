"""The progress bar of a terminal, and the lines above it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from src.callbacks import EpochProgressBar
from tests.toys import Squares, classifier, trainer


def test_a_bar_is_one_line_and_the_lines_of_the_epochs_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted = trainer(tmp_path, max_epochs=2, enable_progress_bar=True)
    assert isinstance(fitted.progress_bar_callback, EpochProgressBar)
    fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False)
    shown = re.split("[\\r\\n]", capsys.readouterr().out)
    lines = [text.strip() for text in shown if text.startswith("epoch ") and "train/loss" in text]
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    bars = [text for text in shown if "it/s" in text]
    assert {text.split(":")[0] for text in bars if "4/4" in text} == {"epoch 1", "epoch 2"}
    assert not any("loss" in text for text in bars)
