"""The checkpoint from which a run resumes."""

from __future__ import annotations

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
from tests.toys import Squares, classifier, trainer


def fit(directory: Path, resumed: bool = False, size: int = 30, **kwargs: Any) -> None:
    (directory / "config.yaml").touch()
    fitted = trainer(directory, **{"max_epochs": 2, "every_n_steps": 1, **kwargs})
    again = str(directory) if resumed else None
    fitted.fit(classifier(), datamodule=Squares(size=size), resume=again, test_after_fit=False)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00" * 3, len(content) // 3) - 40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    damage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, other = tmp_path / "whole", tmp_path / "other"
    for directory in (undisturbed, other):
        directory.mkdir()
        fit(directory)
    folder = other / "checkpoints"
    damage(folder / "last.ckpt")
    fit(other, resumed=True)
    said = capsys.readouterr().out
    assert "last.ckpt cannot be read" in said
    assert "it is renamed to last.ckpt.damaged" in said
    assert "previous.ckpt: epoch 1, step 7" in said
    assert (folder / "last.ckpt.damaged").is_file()
    again, expected = (read(run / "checkpoints" / "last.ckpt") for run in (other, undisturbed))
    torch.testing.assert_close(again["state_dict"], expected["state_dict"], rtol=0, atol=0)
    assert read(folder / "previous.ckpt")["global_step"] == 7


def test_between_two_renames_there_is_the_one_before(tmp_path: Path) -> None:
    fit(tmp_path)
    folder = tmp_path / "checkpoints"
    (folder / "last.ckpt").unlink()
    path, content, messages = resume.latest_checkpoint(tmp_path, rename_damaged=True)
    assert (path.name, content["global_step"], messages) == ("previous.ckpt", 7, [])


def test_where_both_are_damaged_both_are_named(tmp_path: Path) -> None:
    fit(tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        truncate(tmp_path / "checkpoints" / name)
    with pytest.raises(UserError, match=r"last.ckpt cannot be read.*previous.ckpt cannot be read.*init_from"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)


def test_a_checkpoint_with_code_in_it_is_refused_not_passed_over(tmp_path: Path) -> None:
    fit(tmp_path)
    torch.save({"state_dict": {}, "more": Touch(tmp_path / "ran")}, tmp_path / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="could run code"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)
    assert not (tmp_path / "ran").exists()


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ended before its first"):
        resume.latest_checkpoint(tmp_path, rename_damaged=True)


def test_what_differs_since_the_run_began_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, max_epochs=1)
    manifest = tmp_path / "manifest.json"
    version = metadata.version("torch")
    manifest.write_text(manifest.read_text().replace(f'"torch": "{version}"', '"torch": "1.0"'))
    fit(tmp_path, resumed=True, size=33)
    said = capsys.readouterr().out
    assert f"differs from the start of the run: package.torch was 1.0, is {version}" in said
    assert "differs from the start of the run: data.train.images was 30, is 33" in said
    assert "data.train.sha256 was" in said
    assert manifest.read_text().count('"started"') == 2


def test_a_resume_without_a_change_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, max_epochs=1)
    fit(tmp_path, resumed=True)
    assert "differs" not in capsys.readouterr().out


def test_in_the_middle_of_an_epoch_other_data_are_refused(tmp_path: Path) -> None:
    fit(tmp_path, max_steps=2)
    with pytest.raises(UserError, match="the middle of an epoch, after 2 batches"):
        fit(tmp_path, resumed=True, size=33)


def test_averaged_weights_need_their_average(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=1, callbacks=EMA())
    with pytest.raises(UserError, match=r"keep src.callbacks.EMA in trainer.callbacks"):
        fit(tmp_path, resumed=True)


def test_an_average_may_begin_later(tmp_path: Path) -> None:
    fit(tmp_path, max_epochs=1)
    fit(tmp_path, resumed=True, callbacks=EMA())
    assert "current_model_state" in read(tmp_path / "checkpoints" / "last.ckpt")
