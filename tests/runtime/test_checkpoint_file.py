"""Checkpoint files: complete or absent, and unable to run code."""

from __future__ import annotations

import errno
import os
import pickle
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from src.errors import UserError
from src.runtime import checkpoint_file
from src.runtime.checkpoint_file import AtomicCheckpointIO, check_same_network, differences, read, write
from tests.toys import CallAt, fit, last_checkpoint

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
    """Creates a file when it is unpickled, as an example of code in a checkpoint."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


# Write


def test_read_returns_what_was_written(path: Path) -> None:
    found = read(path)
    assert found.keys() == {"state_dict", "epoch", "note"}
    assert torch.equal(found["state_dict"]["weight"], WEIGHT)
    assert (found["epoch"], found["note"]) == (3, "a remark")


def test_write_creates_folders_and_renames_an_existing_file_if_requested(tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for epoch in (3, 4):
        write(content(epoch), path)
    assert (read(path)["epoch"], files(path.parent)) == (4, ["last.ckpt"])
    write(content(epoch=5), path, previous=path.with_name("previous.ckpt"))
    assert (read(path)["epoch"], read(path.with_name("previous.ckpt"))["epoch"]) == (5, 4)


def test_write_syncs_the_file_and_then_its_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_folder: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda number: is_folder.append(stat.S_ISDIR(os.fstat(number).st_mode)))
    write(content(), path)
    assert is_folder == [False, True]


def fail_midway(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def save(_: Any, file: Any) -> None:
        file.write(b"PK half of a checkpoint")
        raise error

    monkeypatch.setattr(checkpoint_file.torch, "save", save)


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error, raised, match",
    [
        (NO_SPACE, UserError, r"last\.ckpt could not be written: .*No space left.*previous .* unchanged"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (RuntimeError("a tensor of an unknown kind"), RuntimeError, "^a tensor of an unknown kind$"),  # a bug
    ],
    ids=["full disk", "interrupt", "bug"],
)
def test_a_failed_write_keeps_the_old_file(
    error: BaseException, raised: type[BaseException], match: str | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    fail_midway(monkeypatch, error)
    with pytest.raises(raised, match=match):
        write(content(epoch=4), path)
    assert path.read_bytes() == before
    assert files(path.parent) == ["last.ckpt"]


def test_a_failed_first_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_midway(monkeypatch, NO_SPACE)
    with pytest.raises(UserError, match=r"No space left on device$"):
        write(content(), tmp_path / "last.ckpt")
    assert files(tmp_path) == []


@pytest.fixture
def limit_file_size() -> Iterator[Callable[[], None]]:
    """Makes the system refuse to write more than 4096 bytes to a file, as a full disk would, until the test ends."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_in_the_second_epoch_leaves_the_checkpoints_of_the_first(
    tmp_path: Path, limit_file_size: Callable[[], None]
) -> None:
    """torch reports it as a RuntimeError, unlike an OSError of Python's."""
    with pytest.raises(
        UserError, match=r"could not be written: .*File too large; the previous checkpoint is unchanged"
    ):
        fit(tmp_path, max_epochs=3, callbacks=CallAt("on_train_batch_start", 4, limit_file_size))
    assert last_checkpoint(tmp_path)["epoch"] == 1
    assert read(tmp_path / "checkpoints" / "best.ckpt")["epoch"] == 0


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"logs/run/last\.ckpt could not be written"):
        write(content(), tmp_path / "logs" / "run" / "last.ckpt")


# Read


@pytest.mark.parametrize("fraction", [0, 0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, fraction: float) -> None:
    complete = path.read_bytes()
    path.write_bytes(complete[: int(len(complete) * fraction)])
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read: it is truncated"):
        read(path)


@pytest.mark.parametrize("found_in", [WEIGHT.numpy().tobytes(), b"a remark"], ids=["tensor", "text"])
def test_a_flipped_bit_is_detected(path: Path, found_in: bytes) -> None:
    stored = bytearray(path.read_bytes())
    stored[stored.index(found_in) + 2] ^= 1
    path.write_bytes(stored)
    with pytest.raises(UserError, match=r"last\.ckpt cannot be read: it is damaged: the checksum"):
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
def test_a_text_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        read(path)


def test_a_checkpoint_that_contains_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "malicious.ckpt", tmp_path / "trace"
    torch.save({"state_dict": {}, "callbacks": Touch(trace)}, path)
    with pytest.raises(UserError, match=r"malicious\.ckpt is refused: .*could run code"):
        read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have run


def test_a_pickle_that_contains_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "malicious.ckpt", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"state_dict": Touch(trace)}, protocol=2))
    with pytest.raises(UserError, match=r"malicious\.ckpt"):
        read(path)
    assert not trace.exists()


@pytest.mark.parametrize("other", [{"weight": WEIGHT}, [1, 2], WEIGHT, {"state_dict": {"weight": 1.0}}])
def test_a_torch_file_that_is_not_a_checkpoint_is_refused(tmp_path: Path, other: Any) -> None:
    torch.save(other, tmp_path / "weights.ckpt")
    with pytest.raises(UserError, match=r"weights\.ckpt is not a checkpoint of this project: it has no entry"):
        read(tmp_path / "weights.ckpt")


def test_the_error_of_a_missing_or_damaged_file_lists_the_other_checkpoints_of_its_folder(path: Path) -> None:
    write(content(), path.with_name("best.ckpt"))
    with pytest.raises(UserError, match=r"bset\.ckpt not found; the same folder has best\.ckpt, last\.ckpt$"):
        read(path.with_name("bset.ckpt"))
    with pytest.raises(UserError, match=r"last\.ckpt not found$"):
        read(path.parent / "nowhere" / "last.ckpt")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"; the same folder has best\.ckpt$"):
        read(path)


# The same network


def network(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_networks_with_the_same_names_and_shapes_have_no_differences() -> None:
    one, other = network(weight=(2, 3), bias=(2,)), network(bias=(2,), weight=(2, 3))
    assert differences(one, other) == []
    check_same_network(one, other, "last.ckpt")


def test_differences_list_names_and_shapes() -> None:
    own, saved = network(a=(2, 3), b=(4,), c=(5,)), network(a=(2, 3), b=(1, 4), d=())
    assert differences(own, saved) == [
        "c (5,) is not in the checkpoint",
        "d () is only in the checkpoint",
        "b is (4,) here and (1, 4) in the checkpoint",
    ]


def test_a_checkpoint_of_another_network_is_refused_with_names_and_shapes() -> None:
    expected = (
        r"^best\.ckpt is of another network than the configured one: "
        r"new \(7,\) is not in the checkpoint; head is \(10, 512\) here and \(2, 512\) in the checkpoint\. "
        "Configure"
    )
    with pytest.raises(UserError, match=expected):
        check_same_network(network(head=(10, 512), new=(7,)), network(head=(2, 512)), "best.ckpt")


@pytest.mark.parametrize(("count", "more"), [(6, ""), (7, "; and 1 more"), (20, "; and 14 more")])
def test_six_differences_are_listed_and_the_rest_is_counted(count: int, more: str) -> None:
    own = network(**{f"layer{number}": (1,) for number in range(count)})
    with pytest.raises(UserError, match=rf"layer5 \(1,\) is not in the checkpoint{more}\. Configure") as raised:
        check_same_network(own, {}, "best.ckpt")
    assert str(raised.value).count("is not in the checkpoint") == 6


# Lightning's plugin


@pytest.mark.parametrize("weights_only", [None, True, False])
def test_the_plugin_reads_tensors_and_plain_values_only(tmp_path: Path, weights_only: bool | None) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint(content(), tmp_path / "last.ckpt")
    assert files(tmp_path) == ["last.ckpt"]
    assert io.load_checkpoint(tmp_path / "last.ckpt", weights_only=weights_only)["epoch"] == 3
    torch.save({"state_dict": {}, "callbacks": Touch(tmp_path / "trace")}, tmp_path / "malicious.ckpt")
    with pytest.raises(UserError, match="could run code"):
        io.load_checkpoint(tmp_path / "malicious.ckpt", weights_only=weights_only)
    assert not (tmp_path / "trace").exists()
