"""Batch norm in several processes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from src.runtime.batch_norm_sync import BatchNormSync
from tests.processes import finish
from tests.toys import NormalizedLinear, Squares, classifier, trainer


@pytest.mark.parametrize(
    "net, world_size, warns",
    [
        (nn.BatchNorm2d(3), 2, True),
        (nn.BatchNorm2d(3), 1, False),
        (nn.SyncBatchNorm(3), 2, False),
        (nn.Linear(2, 2), 2, False),
    ],
)
def test_a_warning_is_printed_if_batch_norm_is_not_synchronized(
    net: Any, world_size: int, warns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer: Any = SimpleNamespace(world_size=world_size, is_global_zero=True)
    BatchNormSync().on_fit_start(trainer, net)
    assert ("processes normalizes by its own shard" in capsys.readouterr().out) is warns


@pytest.mark.slow
@pytest.mark.parametrize("broadcast_buffers", [True, False])
def test_all_ranks_validate_with_the_running_statistics_that_are_saved(broadcast_buffers: bool, tmp_path: Path) -> None:
    """torch's DDP also broadcasts them, at each forward, unless `broadcast_buffers` is false."""
    strategy = {"class_path": "DDPStrategy", "dict_kwargs": {"broadcast_buffers": broadcast_buffers}}
    output = finish(
        *("--data=tests.toys.Squares", "--model.net=tests.toys.NormalizedLinear", "--trainer.max_epochs=2"),
        *("--trainer.accelerator=cpu", "--trainer.devices=2", f"--trainer.strategy={json.dumps(strategy)}"),
        *("--trainer.precision=32-true", f"--trainer.default_root_dir={tmp_path}", "--test_after_fit=false"),
    )
    assert "batch norm is not synchronized" in output
    logged = json.loads((tmp_path / "results.json").read_text())["fit"]["last"]["val/loss"]
    model, saved = classifier(net=NormalizedLinear()), str(tmp_path / "checkpoints" / "last.ckpt")
    (metrics,) = trainer(tmp_path).validate(model, datamodule=Squares(), ckpt_path=saved)
    assert metrics["val/loss"] == pytest.approx(logged, abs=1e-5)
