"""What the trainer adds to Lightning's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import src.runtime.trainer
from src.runtime.precision import native_precision
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.trainer import Trainer
from tests.toys import Squares, classifier, trainer


@pytest.mark.parametrize(
    "capabilities, expected",
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16-mixed"),
        ({"avx512_f": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_auto_is_bf16_where_the_processor_computes_it(
    capabilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_precision("cpu") == expected


@pytest.mark.parametrize("capability, expected", [((9, 0), "bf16-mixed"), ((8, 0), "bf16-mixed"), ((7, 5), "32-true")])
def test_auto_is_bf16_from_ampere_on(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert native_precision() == native_precision("gpu") == expected


def test_auto_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(src.runtime.trainer, "native_precision", lambda accelerator: "32-true")
    assert Trainer(default_root_dir=str(tmp_path), accelerator="cpu").precision == "32-true"


def test_a_callback_of_the_same_class_replaces_one(tmp_path: Path) -> None:
    own = RunCheckpoints(monitor="val/loss", mode="min")
    callbacks = trainer(tmp_path, callbacks=own).checkpoint_callbacks
    assert callbacks == [own]


def test_other_callbacks_are_added(tmp_path: Path) -> None:
    stopping = EarlyStopping("val/loss")
    callbacks = trainer(tmp_path, callbacks=[stopping]).callbacks  # pyright: ignore[reportAttributeAccessIssue]
    assert stopping in callbacks
    assert any(isinstance(callback, RunCheckpoints) for callback in callbacks)


def test_the_logger_is_tensorboard_unless_another_is_given(tmp_path: Path) -> None:
    assert isinstance(trainer(tmp_path, logger=True).logger, TensorBoardLogger)
    assert isinstance(trainer(tmp_path, logger=CSVLogger(tmp_path)).logger, CSVLogger)
    assert trainer(tmp_path, logger=False).logger is None


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_weights_that_were_asked_for_are_tested(which: str, tmp_path: Path) -> None:
    fitted = trainer(tmp_path, test_checkpoint=which, max_epochs=2)
    fitted.fit(classifier(), datamodule=Squares())
    assert fitted.ckpt_path == str(tmp_path / "checkpoints" / f"{which}.ckpt")


def test_without_validation_the_last_weights_are_tested(tmp_path: Path) -> None:
    fitted = trainer(tmp_path)
    fitted.fit(classifier(), datamodule=Squares(val_fraction=0.0))
    assert fitted.ckpt_path == str(tmp_path / "checkpoints" / "last.ckpt")
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_a_fast_dev_run_writes_no_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path, fast_dev_run=True).fit(classifier(), datamodule=Squares())
    assert not (tmp_path / "checkpoints").exists()


def test_overfitting_sees_the_same_batches_in_every_epoch(tmp_path: Path) -> None:
    seen: list[list[int]] = []

    class Watched(Squares):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            if self.trainer and self.trainer.training:
                seen.append(batch.indices_B.tolist())
            return super().on_after_batch_transfer(batch, dataloader_idx)

    trainer(tmp_path, overfit_batches=2, max_epochs=2).fit(classifier(), datamodule=Watched(), test_after_fit=False)
    assert len(seen) == 4
    assert seen[:2] == seen[2:]


def test_gradients_of_two_half_batches_make_one_step(tmp_path: Path) -> None:
    """Accumulated over two batches of 6, the weights are those after whole batches of 12."""
    weights = []
    for size, accumulate in ((12, 1), (6, 2)):
        model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
        data = Squares(batch_size=size)  # 24 samples for training, shuffled the same
        fitted = trainer(tmp_path / str(size), accumulate_grad_batches=accumulate)
        fitted.fit(model, datamodule=data, test_after_fit=False)
        weights.append(model.net.state_dict())
    torch.testing.assert_close(weights[0], weights[1])


def test_a_data_module_serves_two_fits(tmp_path: Path) -> None:
    data = Squares()
    for name in ("first", "second"):
        fitted = trainer(tmp_path / name)
        fitted.fit(classifier(), datamodule=data)
        assert fitted.global_step == 4


def test_a_run_that_keeps_no_best_does_not_test_anothers(tmp_path: Path) -> None:
    trainer(tmp_path).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    fitted = trainer(tmp_path)
    fitted.fit(classifier(), datamodule=Squares(val_fraction=0.0))
    assert fitted.ckpt_path == str(tmp_path / "checkpoints" / "last.ckpt")


def test_a_compiled_network_is_logged_and_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled(self, backend="eager"))
    fitted = trainer(tmp_path, logger=True)
    fitted.fit(classifier(compile=True), datamodule=Squares(), test_after_fit=False)
    assert fitted.global_step == 4


def test_a_plateau_schedule_watches_what_it_was_told(tmp_path: Path) -> None:
    from lightning.pytorch.cli import ReduceLROnPlateau

    model = classifier(lr_scheduler=lambda optimizer: ReduceLROnPlateau(optimizer, monitor="val/acc", mode="max"))
    fitted = trainer(tmp_path, max_epochs=2)
    fitted.fit(model, datamodule=Squares(), test_after_fit=False)
    assert fitted.lr_scheduler_configs[0].monitor == "val/acc"
