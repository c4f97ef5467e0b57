"""Optimizers with a training and an evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from src.callbacks import EMA
from src.classifier import Classifier
from src.cli.doctor.training import optimizer_bytes
from src.errors import UserError
from src.runtime.optimizer_modes import ENTRY
from tests.toys import CallAt, Interrupted, classifier, fit, last_checkpoint


class TwoModes(torch.optim.SGD):
    """Evaluates 1.1 times the weights that it trains, and refuses to step in evaluation mode."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr, momentum=0.9)
        for group in self.param_groups:
            group["train_mode"] = False

    @torch.no_grad()
    def _switch(self, mode: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != mode:
                group["train_mode"] = mode
                for parameter in group["params"]:
                    parameter.mul_(1 / 1.1 if mode else 1.1)

    def train(self) -> None:
        self._switch(True)

    def eval(self) -> None:
        self._switch(False)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self.param_groups[0]["train_mode"]:
            raise RuntimeError("not in train mode")
        return super().step(closure)


def model() -> Classifier:
    return classifier(optimizer=TwoModes)


def first(values: dict[str, torch.Tensor]) -> float:
    return float(values["net.layer.weight"].flatten()[0])


class FirstWeight(Callback):
    """Records the first weight after each step and in each validation."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.validated: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        self.trained.append(first(pl_module.state_dict()))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self.validated.append(first(pl_module.state_dict()))


def test_validation_and_checkpoints_have_the_weights_of_evaluation(tmp_path: Path) -> None:
    record, trained = FirstWeight(), model()
    fit(tmp_path, trained, callbacks=[record], max_epochs=2)
    assert record.validated == pytest.approx([1.1 * record.trained[3], 1.1 * record.trained[7]])
    saved = last_checkpoint(tmp_path)
    assert (first(saved["state_dict"]), first(saved[ENTRY])) == pytest.approx(
        (1.1 * record.trained[7], record.trained[7])
    )
    assert first(trained.state_dict()) == first(saved["state_dict"])


def test_the_weights_do_not_depend_on_validations_and_checkpoints(tmp_path: Path) -> None:
    rare, often = FirstWeight(), FirstWeight()
    fit(tmp_path / "a", model(), callbacks=[rare], max_epochs=2, limit_val_batches=0)
    fit(tmp_path / "b", model(), callbacks=[often], max_epochs=2, val_check_interval=1, every_n_steps=1)
    assert len(often.validated) == 8
    assert often.trained == rare.trained


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_resumed_run_is_bit_identical(step: int, tmp_path: Path) -> None:
    fit(tmp_path / "a", model(), max_epochs=2, every_n_steps=1)
    with pytest.raises(Interrupted):
        fit(
            tmp_path / "b",
            model(),
            max_epochs=2,
            every_n_steps=1,
            callbacks=[CallAt("on_train_batch_start", step + 1)],
        )
    fit(tmp_path / "b", model(), max_epochs=2, every_n_steps=1, resume=True)
    expected, found = last_checkpoint(tmp_path / "a"), last_checkpoint(tmp_path / "b")
    for entry in ("state_dict", ENTRY, "optimizer_states"):
        torch.testing.assert_close(found[entry], expected[entry], rtol=0, atol=0)


def test_a_test_loads_the_weights_of_evaluation(tmp_path: Path) -> None:
    tested = model()
    fitted = fit(tmp_path, tested, test=True)
    assert first(tested.state_dict()) == first(last_checkpoint(tmp_path)["state_dict"])
    assert fitted.state.fn == "test"


def test_weights_are_averaged_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="TwoModes averages the weights itself"):
        fit(tmp_path, model(), callbacks=[EMA()])


def test_doctor_steps_in_training_mode() -> None:
    assert optimizer_bytes(model()) == 588


def test_other_optimizers_add_nothing_to_a_checkpoint(tmp_path: Path) -> None:
    fit(tmp_path)
    assert ENTRY not in last_checkpoint(tmp_path)
