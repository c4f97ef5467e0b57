"""Stopping at a loss that is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.errors import UserError
from tests.toys import Squares, classifier, trainer


def test_the_step_and_the_learning_rate_are_named_and_the_weights_stay(tmp_path: Path) -> None:
    model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.25))
    with torch.no_grad():
        model.net.layer.bias.fill_(float("inf"))  # pyright: ignore
    before = model.net.layer.weight.clone()  # pyright: ignore
    with pytest.raises(UserError, match=r"the loss is not finite at step 0 \(epoch 0\), with learning rate 0.25"):
        trainer(tmp_path).fit(model, datamodule=Squares())
    torch.testing.assert_close(model.net.layer.weight, before)  # pyright: ignore
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
