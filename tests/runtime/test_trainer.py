"""What this project's Trainer adds to Lightning's."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningDataModule
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelSummary
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

import src.runtime.trainer
from src.data import Batch
from src.errors import UserError
from src.runtime import run_directory
from src.runtime.checkpoint_file import read
from src.runtime.run_checkpoints import RunCheckpoints
from src.runtime.trainer import Trainer
from tests.toys import Squares, classifier, fit, trainer


class OwnCheckpoints(RunCheckpoints):
    pass


def test_precision_auto_is_the_native_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(src.runtime.trainer, "native_precision", lambda accelerator: "64-true")
    assert Trainer(default_root_dir=str(tmp_path), accelerator="cpu").precision == "64-true"


@pytest.mark.parametrize("own", [RunCheckpoints(), OwnCheckpoints()])
def test_a_callback_of_the_same_class_or_a_subclass_replaces_the_default(own: RunCheckpoints, tmp_path: Path) -> None:
    assert trainer(tmp_path, callbacks=own).checkpoint_callbacks == [own]


def test_callbacks_of_other_classes_are_added(tmp_path: Path) -> None:
    stopping = EarlyStopping("val/loss")
    with_it, without = trainer(tmp_path, callbacks=[stopping]), trainer(tmp_path)
    assert stopping in with_it.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    assert len(with_it.callbacks) == len(without.callbacks) + 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("class_, argument", [(LearningRateMonitor, "logger"), (ModelSummary, "enable_model_summary")])
def test_a_callback_without_its_logger_or_summary_is_left_out(class_: type, argument: str, tmp_path: Path) -> None:
    for value in (True, False):
        callbacks = trainer(tmp_path, **{argument: value}).callbacks  # pyright: ignore[reportAttributeAccessIssue]
        assert any(isinstance(callback, class_) for callback in callbacks) is value


def test_the_default_logger_is_tensorboard(tmp_path: Path) -> None:
    assert isinstance(trainer(tmp_path, logger=None).logger, TensorBoardLogger)
    assert isinstance(trainer(tmp_path, logger=True).logger, TensorBoardLogger)
    assert isinstance(trainer(tmp_path, logger=CSVLogger(tmp_path)).logger, CSVLogger)
    assert trainer(tmp_path, logger=False).logger is None


@pytest.mark.parametrize("which", ["best", "last"])
def test_test_checkpoint_selects_the_tested_weights(which: str, tmp_path: Path) -> None:
    fitted = fit(tmp_path, test=True, test_checkpoint=which, max_epochs=2)
    assert fitted.ckpt_path == str(tmp_path / "checkpoints" / f"{which}.ckpt")


def test_without_validation_the_last_weights_are_tested(tmp_path: Path) -> None:
    last = str(tmp_path / "checkpoints" / "last.ckpt")
    assert fit(tmp_path, data=Squares(val_fraction=0.0), test=True).ckpt_path == last
    assert not (tmp_path / "checkpoints" / "best.ckpt").exists()


def test_a_dataset_without_a_test_set_is_not_tested(tmp_path: Path) -> None:
    class WithoutTest(Squares):
        @property
        def has_test(self) -> bool:
            return False

    fit(tmp_path, data=WithoutTest(), test=True)
    assert json.loads((tmp_path / "results.json").read_text()).keys() == {"fit"}


def test_a_fast_dev_run_writes_no_checkpoint(tmp_path: Path) -> None:
    fit(tmp_path, fast_dev_run=True, test=True)
    assert not (tmp_path / "checkpoints").exists()


def test_validate_without_validation_samples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no validation samples; data\.val_fraction"):
        trainer(tmp_path).validate(classifier(), datamodule=Squares(val_fraction=0.0))


def test_a_test_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing is tested, as trainer\.limit_test_batches is 0"):
        trainer(tmp_path, limit_test_batches=0).test(classifier(), datamodule=Squares())


def test_overfit_batches_repeats_the_same_batches_each_epoch(tmp_path: Path) -> None:
    seen: list[list[int]] = []

    class Watched(Squares):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            if self.trainer and self.trainer.training:
                seen.append(batch.indices_B.tolist())
            return super().on_after_batch_transfer(batch, dataloader_idx)

    fit(tmp_path, data=Watched(), overfit_batches=2, max_epochs=2)
    assert len(seen) == 4
    assert seen[:2] == seen[2:]


def test_two_accumulated_batches_equal_one_of_twice_the_size(tmp_path: Path) -> None:
    weights = []
    for size, accumulate in ((12, 1), (6, 2)):
        model = classifier(optimizer=lambda params: torch.optim.SGD(params, lr=0.1))
        fit(tmp_path / str(size), model, Squares(batch_size=size), accumulate_grad_batches=accumulate)
        weights.append(model.net.state_dict())
    torch.testing.assert_close(weights[0], weights[1])


def test_a_data_module_can_be_used_in_two_fits(tmp_path: Path) -> None:
    data = Squares()
    for name in ("first", "second"):
        assert fit(tmp_path / name, data=data).global_step == 4


def test_a_compiled_network_trains_with_a_logger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled(self, backend="eager"))
    assert fit(tmp_path, classifier(compile=True), logger=True).global_step == 4


# As Lightning's documentation uses a trainer


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python_trainer(**kwargs: Any) -> Trainer:
    defaults = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    return Trainer(**{**defaults, **kwargs})


def test_trainers_without_a_directory_have_one_each(empty_folder: Path) -> None:
    trainers = [python_trainer() for _ in range(3)]
    for one in trainers:
        one.fit(classifier(), Squares(), test_after_fit=False)
    assert len({one.run_directory for one in trainers}) == 3
    assert len(list(empty_folder.glob("logs/python/*/checkpoints/last.ckpt"))) == 3


def test_a_trainer_that_does_nothing_leaves_nothing(empty_folder: Path) -> None:
    python_trainer()
    run_directory.remove_empty()
    assert list(empty_folder.iterdir()) == []


def test_a_run_is_not_overwritten_by_another_trainer_but_continued_by_its_own(tmp_path: Path) -> None:
    fitted = fit(tmp_path)
    fitted.fit_loop.max_epochs = 2
    fitted.fit(classifier(), Squares(), test_after_fit=False)
    with pytest.raises(UserError, match="already holds a run"):
        fit(tmp_path)


def test_a_run_made_from_python_is_resumed_by_its_name(empty_folder: Path) -> None:
    first = python_trainer()
    first.fit(classifier(), Squares())
    name = first.run_directory.name
    second = python_trainer(max_epochs=2)
    second.fit(classifier(), Squares(), resume=f"python/{name}")
    assert (second.run_directory.name, second.global_step) == (name, 8)
    assert read(first.run_directory / "checkpoints" / "last.ckpt")["global_step"] == 8


def test_fit_test_validate_and_predict_as_in_lightning(empty_folder: Path) -> None:
    fitted, data = python_trainer(), Squares()
    fitted.fit(classifier(), data, test_after_fit=False)
    best = fitted.run_directory / "checkpoints" / "best.ckpt"
    assert fitted.checkpoint_callback is not None
    assert fitted.checkpoint_callback.best_model_path == str(best)  # pyright: ignore[reportAttributeAccessIssue]
    fitted.test(datamodule=data)
    assert fitted.ckpt_path == str(best)
    fitted.validate(datamodule=data, ckpt_path="last")
    assert fitted.ckpt_path == str(best.with_name("last.ckpt"))
    (predictions,) = fitted.predict(classifier(), data, ckpt_path="best")[:1]
    assert predictions["probabilities"].shape == (6, 3)
    fitted.fit_loop.max_epochs = 2
    fitted.fit(classifier(), data, ckpt_path="last", test_after_fit=False)
    assert fitted.global_step == 8


def test_training_in_a_thread_leaves_the_signals_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fit(tmp_path)
        except BaseException as error:
            errors.append(error)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers
    assert sum("outside the main thread" in record.message for record in caplog.records) == 1


@pytest.mark.filterwarnings("ignore:.*Please add the following callbacks")
def test_a_run_that_early_stopping_ended_is_only_tested_again(tmp_path: Path) -> None:
    def stopping() -> EarlyStopping:
        return EarlyStopping("val/acc", patience=0, mode="max", check_on_train_epoch_end=False)

    first = fit(tmp_path, max_epochs=20, callbacks=stopping())
    second = fit(tmp_path, max_epochs=20, callbacks=stopping(), resume=True, test=True)
    assert second.global_step == first.global_step < 80
    assert "test" in json.loads((tmp_path / "results.json").read_text())
    third = fit(tmp_path, max_epochs=20, resume=True)  # without it
    assert third.global_step == 80


@pytest.mark.parametrize("max_epochs", [1, 2])
def test_a_finished_run_has_nothing_left_to_train(
    max_epochs: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path, max_epochs=2)
    caplog.clear()
    fit(tmp_path, max_epochs=max_epochs, resume=True)
    assert f"nothing is left to train after 2 epochs and 8 steps, with trainer.max_epochs {max_epochs}" in caplog.text


class Batches(LightningDataModule):
    """A data module as of any Lightning project, without a test set."""

    def train_dataloader(self) -> DataLoader:
        batch = Batch(torch.rand(6, 3, 4, 4), torch.zeros(6, dtype=torch.int64), torch.arange(6), 6)
        return DataLoader([batch] * 4, batch_size=None)  # pyright: ignore[reportArgumentType]

    val_dataloader = predict_dataloader = train_dataloader


def test_any_data_module_can_be_used(tmp_path: Path) -> None:
    model, data, fitted = classifier(), Batches(), trainer(tmp_path)
    fitted.fit(model, data)  # pyright: ignore[reportArgumentType]
    assert fitted.global_step == 4
    assert fitted.validate(model, datamodule=data)[0]["val/acc"] >= 0
    fitted.predict(model, datamodule=data)
    assert (tmp_path / "predictions.csv").is_file()


def test_loaders_can_be_used_without_a_data_module(tmp_path: Path) -> None:
    fitted = trainer(tmp_path)
    fitted.fit(classifier(), Batches().train_dataloader(), Batches().val_dataloader())
    assert fitted.global_step == 4
