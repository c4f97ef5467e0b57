"""What is printed before training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from src.callbacks.summary import as_table, layers
from src.errors import UserError
from src.models import DeepCNN, SpeedNet, TestTimeAugmentation
from tests.toys import Squares, classifier, trainer


def test_every_layer_with_its_output_and_its_parameters() -> None:
    rows = layers(DeepCNN(), torch.zeros(1, 3, 32, 32), 10)
    assert rows[0] == ("0", "Conv2d", "(1, 32, 32, 32)", 896)
    assert rows[-1] == ("16", "Linear", "(1, 10)", 5130)
    assert sum(parameters for *_, parameters in rows) == 1_676_842


def test_a_wrapper_shows_the_layers_inside_once() -> None:
    rows = layers(TestTimeAugmentation(SpeedNet(widths=(24, 24, 24))), torch.zeros(1, 3, 32, 32), 10)
    assert len(rows) > 3
    assert len({name for name, *_ in rows}) == len(rows)


def test_columns_line_up() -> None:
    lines = as_table([("a", "Conv2d", "(1, 2)", 1234), ("bb", "ReLU", "(1, 2)", 0)], 1234).splitlines()
    assert lines[1].endswith("1,234")
    assert len(lines[1]) == len(lines[2])
    assert lines[-1] == "1,234 parameters"


def test_the_mode_of_training_stays() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(48, 3))
    layers(net, torch.zeros(1, 3, 4, 4), 3)
    assert net.training


def test_a_network_that_cannot_take_the_pictures() -> None:
    with pytest.raises(UserError, match=r"model.net \(Linear\) cannot take pictures of shape \(1, 3, 4, 4\)"):
        layers(nn.Linear(5, 3), torch.zeros(1, 3, 4, 4), 3)


def test_a_network_with_another_number_of_classes() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    with pytest.raises(UserError, match=r"gives \(1, 7\) for one picture; with 3 classes it must give \(1, 3\)"):
        layers(net, torch.zeros(1, 3, 4, 4), 3)


def test_a_network_that_gives_no_tensor() -> None:
    with pytest.raises(UserError, match="gives tuple for one picture"):
        layers(nn.LSTM(4, 3), torch.zeros(3, 4), 3)


def test_a_fit_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer(tmp_path).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    text = capsys.readouterr().out
    assert "training pictures (24, 3, 4, 4), validation pictures 6, 3 classes" in text
    assert "147 parameters" in text
