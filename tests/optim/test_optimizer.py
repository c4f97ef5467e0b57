"""What an optimizer and a schedule cannot be built from."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, OneCycleLR

from src.errors import UserError
from src.optim.muon import Muon
from src.optim.optimizer import build_layer_decay, build_optimizer, build_schedule


def layers() -> list[list[nn.Parameter]]:
    return [[*layer.parameters()] for layer in (nn.Conv2d(3, 4, 3), nn.Linear(4, 3))]


def test_a_schedule_of_other_schedules_needs_a_function() -> None:
    optimizer = SGD(layers()[0])
    with pytest.raises(UserError, match=r"cannot be built from the optimizer alone: .* a function of your own"):
        build_schedule(ChainedScheduler, optimizer)
    chained = build_schedule(lambda optimizer: ChainedScheduler([ConstantLR(optimizer)]), optimizer)
    assert isinstance(chained, ChainedScheduler)


def test_torchs_muon_is_refused_with_what_to_use() -> None:
    with pytest.raises(UserError, match=r"use src\.optim\.Muon"):
        build_optimizer(torch.optim.Muon, layers()[0])


def test_other_errors_of_an_optimizer_are_its_own() -> None:
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        build_layer_decay(lambda params: SGD(params, lr=-1), layers(), 0.5)


def test_layer_decay_is_not_for_a_schedule_that_sets_the_learning_rates() -> None:
    def one_cycle(optimizer: Optimizer) -> OneCycleLR:
        return OneCycleLR(optimizer, max_lr=0.1, total_steps=10)

    optimizer = build_layer_decay(SGD, layers(), 0.5)
    with pytest.raises(UserError, match=r"OneCycleLR sets one learning rate for all layers.*layer_decay 0\.5"):
        build_schedule(one_cycle, optimizer, layer_decay=0.5)
    assert isinstance(build_schedule(one_cycle, optimizer), OneCycleLR)
    assert isinstance(build_schedule(ConstantLR, build_layer_decay(SGD, layers(), 0.5), 0.5), ConstantLR)


def test_layer_decay_is_not_for_an_optimizer_that_makes_its_own_groups() -> None:
    with pytest.raises(UserError, match=r"layer_decay 0\.5 is not for this optimizer: params must be the parameters"):
        build_layer_decay(Muon, layers(), 0.5)
