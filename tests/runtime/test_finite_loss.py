"""Stopping at a loss that is not finite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.errors import UserError
from src.runtime.finite_loss import FiniteLoss
from tests.toys import classifier, fit


def test_the_error_names_step_and_learning_rate_and_the_weights_do_not_change(tmp_path: Path) -> None:
    model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.25))
    with torch.no_grad():
        model.net.layer.bias.fill_(float("inf"))  # pyright: ignore
    before = model.net.layer.weight.clone()  # pyright: ignore
    with pytest.raises(UserError, match=r"the loss is not finite at step 0 \(epoch 0\), with learning rate 0.25"):
        fit(tmp_path, model)
    torch.testing.assert_close(model.net.layer.weight, before)  # pyright: ignore
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


def test_on_a_gpu_the_loss_is_read_every_log_every_n_steps_and_before_a_checkpoint() -> None:
    class OnGPU(torch.Tensor):
        """A tensor on the CPU that reports a GPU as its device."""

        device = torch.device("cuda")  # pyright: ignore

    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    trainer: Any = SimpleNamespace(log_every_n_steps=2, global_step=3, world_size=1, current_epoch=0)
    trainer.optimizers = [optimizer]
    finite_loss, model = FiniteLoss(), classifier()
    finite_loss.on_train_start(trainer, model)
    finite_loss.on_before_backward(trainer, model, torch.tensor(float("nan")).as_subclass(OnGPU))
    with pytest.raises(UserError, match="not finite"):
        finite_loss.check(trainer)  # as before each checkpoint
    trainer.global_step = 4
    with pytest.raises(UserError, match="not finite at step 4"):
        finite_loss.on_before_backward(trainer, model, torch.tensor(1.0).as_subclass(OnGPU))
