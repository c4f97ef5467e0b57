"""Names of run directories, and how a run and its checkpoints are found."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from src.errors import UserError
from src.runtime import run_directory
from tests.conftest import ROOT


def make_run(logs: Path, name: str, age: int = 0, checkpoints: tuple[str, ...] = ()) -> Path:
    directory = logs / name
    (directory / run_directory.CHECKPOINTS).mkdir(parents=True)
    config = directory / run_directory.CONFIG
    config.write_text("seed_everything: 0\n")
    for checkpoint in checkpoints:
        (directory / run_directory.CHECKPOINTS / checkpoint).touch()
    for place in (config, directory / run_directory.CHECKPOINTS):
        os.utime(place, (1_000_000 - age, 1_000_000 - age))
    return directory


def test_empty_directories_are_removed_with_their_parents(tmp_path: Path) -> None:
    kept, empty = (tmp_path / "logs" / recipe / "run" for recipe in ("a", "b"))
    assert run_directory.create(kept) and run_directory.create(empty)
    (empty / f"{run_directory.CLAIM}17@0.0").touch()  # what a job leaves there
    (kept / "file").touch()
    own = tmp_path / "own"  # the user's, and empty
    own.mkdir()
    run_directory.create(own / "run")
    run_directory.remove_empty()
    assert kept.is_dir()
    assert not empty.parent.exists()
    assert list(own.iterdir()) == []
    (kept / "file").unlink()
    run_directory.remove_empty()
    assert kept.is_dir()  # it was not empty when the process ended


def test_only_a_directory_that_this_process_created_is_discarded(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    other.mkdir()
    for directory in (own, other):
        run_directory.create(directory)
        (directory / "file").touch()
        run_directory.discard(directory)
    assert not own.exists()
    assert (other / "file").exists()


HOLD = """
import sys, pathlib
from src.runtime import run_directory
with run_directory.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_directory_that_another_process_holds_is_refused_until_that_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == b"held\n"
    holder = f"{tmp_path} is being written by process {process.pid} on {socket.gethostname()}"
    with pytest.raises(UserError, match=holder), run_directory.held(tmp_path):
        pass
    process.kill()
    process.wait()
    with run_directory.held(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert process.stdin
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_directory_that_is_not_writable_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filelock.FileLock.acquire", mock.Mock(side_effect=OSError(number, "no")))
    with pytest.raises(UserError, match="is not writable"), run_directory.held(tmp_path):
        pass


def test_a_file_system_without_locks_is_reported_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("filelock.FileLock.acquire", mock.Mock(side_effect=OSError(errno.ENOLCK, "no")))
    with run_directory.held(tmp_path):
        assert "has no locks" in capsys.readouterr().out


def test_a_run_is_found_by_path_by_name_and_by_recipe(tmp_path: Path) -> None:
    make_run(tmp_path, "cifar10/old", age=100)
    newest = make_run(tmp_path, "cifar10/new", age=1)
    assert run_directory.find(newest) == newest
    assert run_directory.find("cifar10/new", tmp_path) == newest
    assert run_directory.find("cifar10", tmp_path) == newest


def test_a_test_of_an_older_run_does_not_make_it_the_latest(tmp_path: Path) -> None:
    newest = make_run(tmp_path, "cifar10/new", age=1)
    old = make_run(tmp_path, "cifar10/old", age=100)
    (old / run_directory.RESULTS).touch()
    assert run_directory.find("cifar10", tmp_path) == newest
    os.utime(old / run_directory.CHECKPOINTS)  # trained again
    assert run_directory.find("cifar10", tmp_path) == old


def test_the_error_of_a_missing_run_lists_the_latest_runs(tmp_path: Path) -> None:
    make_run(tmp_path, "cifar10/existing")
    with pytest.raises(UserError, match=r"nothing is not a run directory.*cifar10/existing"):
        run_directory.find("nothing", tmp_path)


def test_the_weights_of_a_run_are_its_best_checkpoint(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "a/b", checkpoints=("best.ckpt", "last.ckpt"))
    assert run_directory.find_weights("a/b", tmp_path) == directory / "checkpoints" / "best.ckpt"
    assert run_directory.find_weights("a@last", tmp_path) == directory / "checkpoints" / "last.ckpt"


def test_the_weights_of_a_run_without_validation_are_its_last_checkpoint(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "a/b", checkpoints=("last.ckpt",))
    assert run_directory.find_weights("a/b", tmp_path).name == "last.ckpt"
    assert (
        run_directory.find_weights(directory / "checkpoints" / "last.ckpt") == directory / "checkpoints" / "last.ckpt"
    )


def test_a_run_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    make_run(tmp_path, "a/b")
    with pytest.raises(UserError, match=r"best\.ckpt and last\.ckpt"):
        run_directory.find_weights("a/b", tmp_path)


def test_a_path_may_have_an_at_sign(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "me@host/a@b", checkpoints=("best.ckpt", "last.ckpt"))
    assert run_directory.find_weights(directory).name == "best.ckpt"
    assert run_directory.find_weights(f"{directory}@last").name == "last.ckpt"


def test_an_unknown_name_after_the_at_sign_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use RUN, RUN@best or RUN@last"):
        run_directory.find_weights("a@first", tmp_path)


def test_write_text_keeps_the_old_file_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_directory.write_text(tmp_path / "run" / "a.json", "old")
    complete = Path.write_text

    def fail(self: Path, text: str) -> None:
        complete(self, text[:1])
        raise OSError

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError):
        run_directory.write_text(tmp_path / "run" / "a.json", "new")
    assert (tmp_path / "run" / "a.json").read_text() == "old"


def test_diff_names_the_changed_keys() -> None:
    saved = {"trainer": {"max_epochs": 1, "devices": 1}, "seed_everything": 0}
    present = {"trainer": {"max_epochs": 2, "devices": 1}, "seed_everything": 0, "data": "x"}
    assert run_directory.diff(saved, present) == ["trainer.max_epochs was 1, is 2", "data was None, is x"]
