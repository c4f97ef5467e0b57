"""The checkpoint from which a run resumes."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from src.callbacks.ema import EMA
from src.errors import UserError
from src.runtime import resume
from src.runtime.checkpoint_file import read
from tests.runtime.test_checkpoint_file import Touch
from tests.toys import Squares, classifier, fit, last_checkpoint, trainer


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00" * 3, len(content) // 3) - 40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_a_damaged_last_checkpoint_is_renamed_and_the_previous_one_is_used(
    damage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, damaged = tmp_path / "undisturbed", tmp_path / "damaged"
    for directory in (undisturbed, damaged):
        fit(directory, max_epochs=2, every_n_steps=1)
    folder = damaged / "checkpoints"
    damage(folder / "last.ckpt")
    fit(damaged, max_epochs=2, every_n_steps=1, resume=True)
    output = capsys.readouterr().out
    assert "last.ckpt cannot be read" in output
    assert "it is renamed to last.ckpt.damaged" in output
    assert "previous.ckpt: epoch 1, step 7" in output
    assert (folder / "last.ckpt.damaged").is_file()
    weights, expected = (last_checkpoint(directory)["state_dict"] for directory in (damaged, undisturbed))
    torch.testing.assert_close(weights, expected, rtol=0, atol=0)
    assert read(folder / "previous.ckpt")["global_step"] == 7


def test_without_last_the_previous_checkpoint_is_used(tmp_path: Path) -> None:
    """As after a kill between the two renames of a write."""
    fit(tmp_path, every_n_steps=1)
    (tmp_path / "checkpoints" / "last.ckpt").unlink()
    path, content, messages = resume.latest_checkpoint(tmp_path, rename_damaged=True)
    assert (path.name, content["global_step"], messages) == ("previous.ckpt", 3, [])


def test_another_rank_does_not_rename_a_damaged_checkpoint(tmp_path: Path) -> None:
    fit(tmp_path, every_n_steps=1)
    truncate(tmp_path / "checkpoints" / "last.ckpt")
    path, _, _ = resume.latest_checkpoint(tmp_path, rename_damaged=False)
    assert path.name == "previous.ckpt"
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


def test_a_last_checkpoint_that_rank_0_renames_meanwhile_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tmp_path, every_n_steps=1)

    def read_after_rename(path: Path) -> dict[str, Any]:
        (tmp_path / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(resume, "read", read_after_rename)
    assert resume.latest_checkpoint(tmp_path, rename_damaged=False)[0].name == "previous.ckpt"


def test_if_both_are_damaged_the_error_names_both(tmp_path: Path) -> None:
    fit(tmp_path, every_n_steps=1)
    for name in ("last.ckpt", "previous.ckpt"):
        truncate(tmp_path / "checkpoints" / name)
    with pytest.raises(UserError, match=r"last.ckpt cannot be read.*previous.ckpt cannot be read.*init_from"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)


def test_a_checkpoint_that_contains_code_is_refused_and_not_skipped(tmp_path: Path) -> None:
    fit(tmp_path, every_n_steps=1)
    torch.save({"state_dict": {}, "more": Touch(tmp_path / "ran")}, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="could run code"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)
    assert not (tmp_path / "ran").exists()


def test_a_run_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended before its first"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)


def test_differences_from_the_start_of_the_run_are_printed_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path)
    manifest = tmp_path / "manifest.json"
    version = metadata.version("torch")
    manifest.write_text(manifest.read_text().replace(f'"torch": "{version}"', '"torch": "1.0"'))
    fit(tmp_path, max_epochs=2, resume=True, data=Squares(size=33))
    output = capsys.readouterr().out
    assert f"differs from the start of the run: package.torch was 1.0, is {version}" in output
    assert "differs from the start of the run: data.train.images was 30, is 33" in output
    assert "data.train.sha256 was" in output
    assert manifest.read_text().count('"started"') == 2


def test_without_a_difference_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path)
    fit(tmp_path, max_epochs=2, resume=True)
    assert "differs" not in capsys.readouterr().out


def test_other_data_are_refused_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    fit(tmp_path, max_steps=2, max_epochs=2)
    with pytest.raises(UserError, match="the middle of an epoch, after 2 batches"):
        fit(tmp_path, max_epochs=2, resume=True, data=Squares(size=33))


def test_a_run_with_averaged_weights_resumes_only_with_ema(tmp_path: Path) -> None:
    fit(tmp_path, callbacks=EMA())
    with pytest.raises(UserError, match=r"keep src.callbacks.EMA in trainer.callbacks"):
        fit(tmp_path, max_epochs=2, resume=True)


def test_ema_can_be_added_on_resume(tmp_path: Path) -> None:
    fit(tmp_path)
    fit(tmp_path, max_epochs=2, resume=True, callbacks=EMA())
    assert "current_model_state" in last_checkpoint(tmp_path)


def test_a_checkpoint_without_training_state_is_refused() -> None:
    model = classifier()
    with pytest.raises(UserError, match=r"a\.ckpt has weights but no training state .* use model\.init_from"):
        resume.check_resumable(model, {"state_dict": model.state_dict()}, "a.ckpt", averaged=False)


@pytest.mark.parametrize(
    "change, match",
    [
        (
            {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.2}}},
            r"optimizer\.init_args\.lr was 0\.1",
        ),
        ({"lr_interval": "epoch"}, "lr_interval was step, is epoch"),
        ({"layer_decay": 0.5}, "layer_decay was None, is 0.5"),
        ({"label_smoothing": 0.1}, None),
    ],
)
def test_a_resumed_run_keeps_optimizer_and_schedule(change: dict[str, Any], match: str | None) -> None:
    before = {"optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}, "lr_interval": "step"}
    model = classifier()
    model.config = {"model": {**before, **change}}
    saved = {"state_dict": model.state_dict(), "loops": {}, "config": {"model": before}}
    with pytest.raises(UserError, match=match) if match else contextlib.nullcontext():
        resume.check_resumable(model, saved, "last.ckpt", averaged=False)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"val_fraction": 0.3},
            "data.val_fraction was 0.2, is 0.3, so that images would validate that the network was",
        ),
        ({"split": "random", "split_seed": 2}, "data.split was tail, is random; data.split_seed was 0, is 2"),
        ({"folds": 5}, "data.folds was None, is 5"),
        ({"val_fraction": 0.0}, None),  # all images train
        ({"batch_size": 3}, None),
        ({"class_path": "other.Images", "split": "random"}, None),
    ],
)
def test_images_that_were_trained_on_do_not_validate(change: dict[str, Any], match: str | None, tmp_path: Path) -> None:
    split = {"val_fraction": 0.2, "split": "tail", "split_seed": 0, "folds": None, "fold": 0}
    before, now = (
        {"data": {"class_path": own.pop("class_path", "Squares"), "init_args": {"batch_size": 6, **split, **own}}}
        for own in ({}, {**change})
    )
    first = classifier()
    first.config = before
    trainer(tmp_path).fit(first, datamodule=Squares(), test_after_fit=False)
    model, last = classifier(), str(tmp_path / "checkpoints" / "last.ckpt")
    model.config = now
    with pytest.raises(UserError, match=match) if match else contextlib.nullcontext():
        trainer(tmp_path / "again", max_epochs=2).fit(model, ckpt_path=last, datamodule=Squares(), test_after_fit=False)
    with pytest.raises(UserError, match=match) if match else contextlib.nullcontext():
        trainer(tmp_path / "other").validate(model, ckpt_path=last, datamodule=Squares())
