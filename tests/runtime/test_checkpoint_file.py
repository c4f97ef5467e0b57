"""Checkpoint files: whole or not there, and never able to run code."""

from __future__ import annotations

import errno
import pickle
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.errors import UserError
from src.runtime import checkpoint_file
from src.runtime.checkpoint_file import AtomicCheckpointIO, check_same_network, differences, read, write

WEIGHT = torch.arange(64.0) + 1000  # bytes that occur nowhere else in the file


def content(epoch: int = 3) -> dict[str, Any]:
    return {"state_dict": {"weight": WEIGHT.clone()}, "epoch": epoch, "note": "a remark"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint of epoch 3."""
    write(content(), tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


class Touch:
    """Makes a file when it is unpickled: what a hostile checkpoint could do, in small."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


# Whole or not there


def test_what_is_written_is_read(path: Path):
    found = read(path)
    assert found.keys() == {"state_dict", "epoch", "note"}
    assert torch.equal(found["state_dict"]["weight"], WEIGHT)
    assert (found["epoch"], found["note"]) == (3, "a remark")


def test_writing_makes_the_folders_and_leaves_one_file(tmp_path: Path):
    write(content(), tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert files(tmp_path / "run" / "checkpoints") == ["best.ckpt"]


def test_writing_again_replaces(path: Path):
    write(content(epoch=4), path)
    assert read(path)["epoch"] == 4
    assert files(path.parent) == ["last.ckpt"]


def fail_midway(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def save(_: Any, file: Any) -> None:
        file.write(b"PK half of a checkpoint")
        raise error

    monkeypatch.setattr(checkpoint_file.torch, "save", save)


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = path.read_bytes()
    fail_midway(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError, match=r"last\.ckpt could not be written: .*No space left.*previous .* unchanged"):
        write(content(epoch=4), path)
    assert path.read_bytes() == before
    assert files(path.parent) == ["last.ckpt"]


def test_a_full_disk_leaves_nothing_where_nothing_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fail_midway(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError, match=r"No space left on device$"):
        write(content(), tmp_path / "last.ckpt")
    assert files(tmp_path) == []


def test_a_write_that_the_system_refuses_midway_is_told_as_such(path: Path):
    # Not a stand-in: past 4096 bytes the system itself refuses, which torch's writer tells in its own way.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError, match="File too large; the previous checkpoint is unchanged"):
            write({"state_dict": {"weight": torch.zeros(100_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert read(path)["epoch"] == 3
    assert files(path.parent) == ["last.ckpt"]


def test_an_interruption_passes_and_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    fail_midway(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write(content(epoch=4), path)
    assert read(path)["epoch"] == 3
    assert files(path.parent) == ["last.ckpt"]


def test_a_bug_is_not_passed_off_as_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch):
    fail_midway(monkeypatch, RuntimeError("a tensor of an unknown kind"))
    with pytest.raises(RuntimeError, match="unknown kind"):
        write(content(), path)
    assert files(path.parent) == ["last.ckpt"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"logs/run/last\.ckpt could not be written"):
        write(content(), tmp_path / "logs" / "run" / "last.ckpt")


# What is not taken


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_a_file_cut_short_is_refused(path: Path, share: float):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read: it is truncated"):
        read(path)


@pytest.mark.parametrize("where", ["in a tensor", "in a text"])
def test_a_flipped_bit_is_noticed(path: Path, where: str):
    stored = bytearray(path.read_bytes())
    at = stored.index(WEIGHT.numpy().tobytes() if where == "in a tensor" else b"a remark")
    stored[at + 2] ^= 1
    path.write_bytes(stored)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        read(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Results\n",
        "trainer:\n  max_epochs: 20\n",  # a run's config.yaml in place of its checkpoint
        "epoch,loss\n0,2.3\n",
        '{"test/acc": 0.78}\n',
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
)
def test_a_text_file_is_refused(path: Path, text: str):
    path.write_text(text)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        read(path)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not(tmp_path: Path):
    path, trace = tmp_path / "hostile.ckpt", tmp_path / "trace"
    torch.save({"state_dict": {}, "callbacks": Touch(trace)}, path)
    with pytest.raises(UserError, match=r"hostile\.ckpt is refused: .*could run code"):
        read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # so the file was a real danger


def test_a_bare_pickle_that_would_run_code_is_refused_and_does_not(tmp_path: Path):
    path, trace = tmp_path / "hostile.ckpt", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"state_dict": Touch(trace)}, protocol=2))
    with pytest.raises(UserError, match=r"hostile\.ckpt"):
        read(path)
    assert not trace.exists()


@pytest.mark.parametrize("other", [{"weight": WEIGHT}, [1, 2], WEIGHT])
def test_a_file_of_torch_s_that_is_no_checkpoint_is_refused(tmp_path: Path, other: Any):
    torch.save(other, tmp_path / "weights.ckpt")
    with pytest.raises(UserError, match=r"weights\.ckpt is not a checkpoint of this project: it has no entry"):
        read(tmp_path / "weights.ckpt")


def test_a_missing_file_names_its_neighbours(path: Path):
    write(content(), path.with_name("best.ckpt"))
    with pytest.raises(UserError, match=r"bset\.ckpt not found; the same folder has best\.ckpt, last\.ckpt$"):
        read(path.with_name("bset.ckpt"))


def test_a_missing_file_in_an_empty_or_missing_folder_names_itself(tmp_path: Path):
    for missing in (tmp_path / "last.ckpt", tmp_path / "nowhere" / "last.ckpt"):
        with pytest.raises(UserError, match=r"checkpoint .*last\.ckpt not found$"):
            read(missing)


def test_a_damaged_file_names_its_neighbours_but_not_itself(path: Path):
    write(content(), path.with_name("best.ckpt"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"; the same folder has best\.ckpt$"):
        read(path)


# The same network


def network(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_networks_with_the_same_names_and_shapes_do_not_differ():
    one, other = network(weight=(2, 3), bias=(2,)), network(bias=(2,), weight=(2, 3))
    assert differences(one, other) == []
    check_same_network(one, other, "last.ckpt")


def test_differences_list_names_and_shapes():
    own, saved = network(a=(2, 3), b=(4,), c=(5,)), network(a=(2, 3), b=(1, 4), d=())
    assert differences(own, saved) == [
        "c (5,) is not in the checkpoint",
        "d () is only in the checkpoint",
        "b is (4,) here and (1, 4) in the checkpoint",
    ]


def test_another_network_is_refused_with_names_and_shapes():
    expected = (
        r"^best\.ckpt is of another network than the configured one: "
        r"new \(7,\) is not in the checkpoint; head is \(10, 512\) here and \(2, 512\) in the checkpoint\. "
        "Configure"
    )
    with pytest.raises(UserError, match=expected):
        check_same_network(network(head=(10, 512), new=(7,)), network(head=(2, 512)), "best.ckpt")


@pytest.mark.parametrize(("count", "more"), [(6, ""), (7, "; and 1 more"), (20, "; and 14 more")])
def test_six_differences_are_listed_and_the_rest_counted(count: int, more: str):
    own = network(**{f"layer{number}": (1,) for number in range(count)})
    with pytest.raises(UserError, match=rf"layer5 \(1,\) is not in the checkpoint{more}\. Configure") as caught:
        check_same_network(own, {}, "best.ckpt")
    assert str(caught.value).count("is not in the checkpoint") == 6


# What Lightning gets


@pytest.mark.parametrize("weights_only", [None, True, False])
def test_lightning_writes_and_reads_the_same_way(tmp_path: Path, weights_only: bool | None):
    io = AtomicCheckpointIO()
    io.save_checkpoint(content(), tmp_path / "last.ckpt")
    assert files(tmp_path) == ["last.ckpt"]
    assert io.load_checkpoint(tmp_path / "last.ckpt", weights_only=weights_only)["epoch"] == 3
    torch.save({"state_dict": {}, "callbacks": Touch(tmp_path / "trace")}, tmp_path / "hostile.ckpt")
    with pytest.raises(UserError, match="could run code"):
        io.load_checkpoint(tmp_path / "hostile.ckpt", weights_only=weights_only)
    assert not (tmp_path / "trace").exists()
