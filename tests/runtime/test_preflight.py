"""The checks before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from src.errors import UserError
from src.runtime.preflight import check_network
from tests.toys import classifier, fit

IMAGES = torch.zeros(2, 3, 4, 4)


def test_the_check_restores_the_training_mode_of_each_module() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(48, 3))
    net[1].eval()
    check_network(net, IMAGES, 3)
    assert [module.training for module in net.modules()] == [True, True, False, True]


def test_the_check_runs_in_evaluation_mode_without_gradients() -> None:
    modes: list[tuple[bool, bool]] = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    net.register_forward_hook(lambda module, *_: modes.append((module.training, torch.is_grad_enabled())))
    check_network(net, IMAGES, 3)
    assert modes == [(False, False)]


def test_a_network_that_does_not_accept_the_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.net \(Linear\) does not take images of shape \(2, 3, 4, 4\)"):
        check_network(nn.Linear(5, 3), IMAGES, 3)


def test_a_network_with_another_number_of_classes_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    with pytest.raises(UserError, match=r"returns \(2, 7\) for images .* with 3 classes it must return \(2, 3\)"):
        check_network(net, IMAGES, 3)


def test_a_network_that_does_not_return_a_tensor_is_refused() -> None:
    with pytest.raises(UserError, match="returns tuple for images"):
        check_network(nn.LSTM(4, 3), torch.zeros(3, 4), 3)


def test_a_fit_prints_the_size_of_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path)
    assert "24 training and 6 validation images of shape (3, 4, 4), 3 classes" in capsys.readouterr().out


def test_a_fit_checks_the_network(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 7))
    with pytest.raises(UserError, match=r"model.net \(Sequential\) returns \(2, 7\)"):
        fit(tmp_path, classifier(net=net))
