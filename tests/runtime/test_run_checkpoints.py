"""best.ckpt and last.ckpt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.errors import UserError
from src.runtime import run_checkpoints
from src.runtime.finite_loss import FiniteLoss
from src.runtime.run_checkpoints import RunCheckpoints
from tests.toys import CallAt, Interrupted, Squares, classifier, fit, last_checkpoint, trainer


class Recorder:
    """A trainer that records the checkpoints that are saved."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, int]] = []
        self.state = SimpleNamespace(fn="fit")
        self.sanity_checking = self.fast_dev_run = self.should_stop = False
        self.accumulate_grad_batches, self.fit_loop = 1, SimpleNamespace(batch_idx=0)
        self.is_global_zero, self.loggers, self.callbacks = True, [], []
        self.current_epoch = self.global_step = 0
        self.callback_metrics: dict[str, torch.Tensor] = {}

    def save_checkpoint(self, path: Path, weights_only: bool, storage_options: Any) -> None:
        self.saved.append((path.name, self.current_epoch))


class RecordSteps(RunCheckpoints):
    """Records the steps at which last.ckpt is due, and writes nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps: list[int] = []

    def _save(self, trainer: Any, name: str) -> None:
        if name == "last.ckpt":
            self.steps.append(trainer.global_step)


def validate(checkpoints: RunCheckpoints, *values: float, name: str = "val/acc", **state: Any) -> list[int]:
    """The epochs in which best.ckpt is saved."""
    recorder: Any = Recorder()
    vars(recorder).update(state)
    for epoch, value in enumerate(values):
        recorder.current_epoch = epoch
        recorder.callback_metrics = {name: torch.tensor(value)}
        checkpoints.on_validation_end(recorder, recorder)
    assert {name for name, _ in recorder.saved} <= {"best.ckpt"}
    return [epoch for _, epoch in recorder.saved]


@pytest.mark.parametrize(
    ("given", "multi_label", "monitor"),
    [("val/acc", True, "val/map"), ("val/acc", False, "val/acc"), ("val/f1", True, "val/f1")],
)
def test_images_with_several_classes_have_another_metric(given: str, multi_label: bool, monitor: str) -> None:
    assert RunCheckpoints(given).monitor_of(classifier(multi_label=multi_label)) == monitor


def test_best_is_the_highest_accuracy_and_the_first_of_equals() -> None:
    assert validate(RunCheckpoints(), 0.5, 0.4, 0.7, 0.7, 0.6, 0.8) == [0, 2, 5]


def test_best_is_the_lowest_value_in_mode_min() -> None:
    assert validate(RunCheckpoints("val/loss", "min"), 0.5, 0.6, 0.4, name="val/loss") == [0, 2]


def test_a_number_is_better_than_nan() -> None:
    assert validate(RunCheckpoints(), float("nan"), 0.1) == [0, 1]


def test_another_metric_than_the_monitored_one_saves_nothing() -> None:
    assert validate(RunCheckpoints(), 0.5, name="val/loss") == []


@pytest.mark.parametrize("state", [{"sanity_checking": True}, {"state": SimpleNamespace(fn="validate")}])
def test_a_sanity_check_or_a_separate_validation_saves_nothing(state: dict[str, Any]) -> None:
    assert validate(RunCheckpoints(), 0.5, **state) == []


def test_a_resumed_run_keeps_the_best_so_far() -> None:
    first, second = RunCheckpoints(), RunCheckpoints()
    validate(first, 0.7)
    second.load_state_dict(first.state_dict())
    assert validate(second, 0.6, 0.8) == [1]
    assert second.best["val/acc"] == pytest.approx(0.8)


@pytest.mark.parametrize("moved, expected", [(True, 0.7), (False, None)])
def test_the_best_is_kept_in_a_moved_run_directory_but_not_in_a_new_run(
    moved: bool, expected: float | None, tmp_path: Path
) -> None:
    first, second = RunCheckpoints(), RunCheckpoints()
    validate(first, 0.7)
    second.folder = tmp_path
    if moved:
        (tmp_path / "best.ckpt").touch()
    second.load_state_dict(first.state_dict())
    assert second.best.get("val/acc") == (pytest.approx(expected) if expected else None)


def test_last_is_saved_every_n_steps_and_at_the_end_of_epochs(tmp_path: Path) -> None:
    checkpoints = RecordSteps(every_n_steps=3)
    fit(tmp_path, max_epochs=2, callbacks=checkpoints)  # of four steps each
    assert checkpoints.steps == [3, 4, 6, 8]


def test_last_is_saved_every_n_minutes_since_it_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = RecordSteps(every_n_minutes=3)
    fitted = trainer(tmp_path, max_epochs=3, callbacks=checkpoints)
    # A step takes a minute, and an epoch four. The end of the first epoch saves in minute 4.
    monkeypatch.setattr(run_checkpoints, "time", SimpleNamespace(monotonic=lambda: 60.0 * fitted.global_step))
    fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False)
    assert checkpoints.steps == [3, 4, 7, 8, 11, 12]


def test_a_checkpoint_that_is_due_before_a_validation_is_saved_after_it(tmp_path: Path) -> None:
    validated: list[tuple[int, list[int]]] = []

    class Watched(RecordSteps):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            validated.append((trainer.global_step, list(self.steps)))

    checkpoints = Watched(every_n_steps=1)
    fit(tmp_path, callbacks=checkpoints, val_check_interval=2)
    assert validated == [(2, [1]), (4, [1, 2, 3])]
    assert checkpoints.steps == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_prevents_a_checkpoint() -> None:
    """On a GPU, losses since the last check are unknown until then."""
    recorder: Any = Recorder()
    recorder.callbacks, recorder.world_size = [FiniteLoss()], 1
    recorder.callbacks[0]._finite = torch.tensor(0)
    recorder.optimizers = [SimpleNamespace(param_groups=[{"lr": 0.1}])]
    with pytest.raises(UserError, match="not finite"):
        RunCheckpoints().save_last(recorder)
    assert recorder.saved == []


def test_scalars_are_written_before_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that after a kill the scalars do not end before the checkpoint."""
    recorder: Any = Recorder()
    events = SimpleNamespace(flush=lambda: recorder.saved.append(("flush", 0)))
    monkeypatch.setattr(run_checkpoints, "summary_writer", lambda trainer: events)
    RunCheckpoints().save_last(recorder)
    assert recorder.saved == [("flush", 0), ("last.ckpt", 0)]


def test_both_files_contain_plain_data(tmp_path: Path) -> None:
    fit(tmp_path)
    for name in ("best.ckpt", "last.ckpt"):
        assert torch.load(tmp_path / "checkpoints" / name, weights_only=True)["global_step"] == 4


@pytest.mark.parametrize("minutes", [0, -1.5, float("nan")])
def test_every_n_minutes_must_be_above_0(minutes: float) -> None:
    with pytest.raises(ValueError, match=r"every_n_minutes .* must be above 0"):
        RunCheckpoints(every_n_minutes=minutes)


def test_every_n_steps_must_be_at_least_1() -> None:
    with pytest.raises(ValueError, match="every_n_steps 0 must be at least 1"):
        RunCheckpoints(every_n_steps=0)


def test_a_checkpoint_within_an_epoch_has_the_progress_that_lightning_counts(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, max_epochs=2, every_n_steps=1, callbacks=CallAt("on_train_batch_start", 6))
    progress = last_checkpoint(tmp_path)["loops"]["fit_loop"]["epoch_progress"]
    assert progress["total"] == {"ready": 2, "started": 2, "processed": 1, "completed": 1}
