"""Batch norm in several processes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from src.runtime.batch_norm_sync import BatchNormSync


def said(net: nn.Module, world_size: int, capsys: pytest.CaptureFixture[str]) -> str:
    trainer: Any = SimpleNamespace(world_size=world_size, is_global_zero=True)
    module: Any = net
    BatchNormSync().on_fit_start(trainer, module)
    return capsys.readouterr().out


def test_several_processes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "each of 2 processes normalizes by its own shard" in said(nn.BatchNorm2d(3), 2, capsys)


@pytest.mark.parametrize("net, world_size", [(nn.BatchNorm2d(3), 1), (nn.SyncBatchNorm(3), 2), (nn.Linear(2, 2), 2)])
def test_others_are_not(net: nn.Module, world_size: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(net, world_size, capsys) == ""
