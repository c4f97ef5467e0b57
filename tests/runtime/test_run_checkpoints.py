"""best.ckpt and last.ckpt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.runtime import run_checkpoints
from src.runtime.run_checkpoints import RunCheckpoints
from tests.toys import Squares, classifier, trainer


class Recorder:
    """A trainer whose validation has the given metrics."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, int]] = []
        self.state = SimpleNamespace(fn="fit")
        self.sanity_checking = self.fast_dev_run = False
        self.is_global_zero, self.loggers, self.callbacks = True, [], []
        self.current_epoch = self.global_step = 0
        self.callback_metrics: dict[str, torch.Tensor] = {}

    def save_checkpoint(self, path: Path, weights_only: bool, storage_options: Any) -> None:
        self.saved.append((path.name, self.current_epoch))


class Watched(RunCheckpoints):
    """Notes the steps at which last.ckpt is due, and writes nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps: list[int] = []

    def _save(self, trainer: Any, name: str) -> None:
        if name == "last.ckpt":
            self.steps.append(trainer.global_step)


def validate(checkpoints: RunCheckpoints, *values: float, name: str = "val/acc") -> list[int]:
    """The epochs in which best.ckpt was written."""
    recorder: Any = Recorder()
    for epoch, value in enumerate(values):
        recorder.current_epoch = epoch
        recorder.callback_metrics = {name: torch.tensor(value)}
        checkpoints.on_validation_end(recorder, recorder)
    assert {name for name, _ in recorder.saved} <= {"best.ckpt"}
    return [epoch for _, epoch in recorder.saved]


def test_the_best_is_the_highest_accuracy_and_the_first_of_equals(tmp_path: Path) -> None:
    assert validate(RunCheckpoints(), 0.5, 0.4, 0.7, 0.7, 0.6, 0.8) == [0, 2, 5]


def test_the_best_may_be_the_lowest(tmp_path: Path) -> None:
    assert validate(RunCheckpoints("val/loss", "min"), 0.5, 0.6, 0.4, name="val/loss") == [0, 2]


def test_a_number_beats_no_number(tmp_path: Path) -> None:
    assert validate(RunCheckpoints(), float("nan"), 0.1) == [0, 1]


def test_after_a_resume_only_better_ones_count(tmp_path: Path) -> None:
    first, second = RunCheckpoints(), RunCheckpoints()
    validate(first, 0.7)
    second.load_state_dict(first.state_dict())
    assert validate(second, 0.6, 0.8) == [1]
    assert second.best["val/acc"] == pytest.approx(0.8)


def test_another_metric_is_no_reason_to_save(tmp_path: Path) -> None:
    assert validate(RunCheckpoints(), 0.5, name="val/loss") == []


def test_last_is_written_every_so_many_steps_and_at_the_end_of_epochs(tmp_path: Path) -> None:
    # 24 samples in batches of 6: four steps an epoch; the fourth belongs to the epoch's end.
    watched = Watched(every_n_steps=2)
    trainer(tmp_path, max_epochs=2, callbacks=watched).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    assert watched.steps == [2, 4, 6, 8]


def test_both_load_as_plain_data(tmp_path: Path) -> None:
    trainer(tmp_path).fit(classifier(), datamodule=Squares(), test_after_fit=False)
    for name in ("best.ckpt", "last.ckpt"):
        assert torch.load(tmp_path / "checkpoints" / name, weights_only=True)["global_step"] == 4


def test_last_is_written_every_so_many_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(every_n_minutes=2)
    fitted = trainer(tmp_path, max_epochs=2, callbacks=watched)
    # A step takes a minute; the fourth belongs to the epoch's end.
    monkeypatch.setattr(run_checkpoints, "time", SimpleNamespace(monotonic=lambda: 60.0 * fitted.global_step))
    fitted.fit(classifier(), datamodule=Squares(), test_after_fit=False)
    assert watched.steps == [2, 4, 6, 8]


@pytest.mark.parametrize("minutes", [0, -1.5, float("nan")])
def test_minutes_out_of_range(minutes: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"every_n_minutes .* must be above 0"):
        RunCheckpoints(every_n_minutes=minutes)


def test_an_interval_below_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every_n_steps -1 must be at least 1"):
        RunCheckpoints(every_n_steps=-1)
