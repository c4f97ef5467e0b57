"""The directory of a run: `logs/<recipe>/<run>/`.

config.yaml      the resolved configuration
manifest.json    what the run ran on: commit, packages, hardware, data
checkpoints/     best.ckpt, last.ckpt, and previous.ckpt, the last.ckpt before it
results.json     the metrics of training and test
events.out.*     TensorBoard
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from src.errors import UserError
from src.files import replacing

LOGS = Path("logs")
CONFIG = "config.yaml"
MANIFEST = "manifest.json"
RESULTS = "results.json"
CHECKPOINTS = "checkpoints"
BEST = "best.ckpt"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
_LOCK = ".lock"
CLAIM = ".job-"  # the start of the names of the files by which jobs claim a directory

_created: list[Path] = []  # by this process


def create(directory: Path) -> bool:
    """Creates a directory and its parents; returns whether this process is the one that created it."""
    directory = directory.absolute()
    missing = [parent for parent in directory.parents if not parent.exists()]
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir()
    except FileExistsError:
        return False
    _created.extend([*reversed(missing), directory])
    return True


@atexit.register
def remove_empty() -> None:
    """Removes the directories that this process created and wrote nothing into."""
    while _created:
        directory = _created.pop()
        with contextlib.suppress(OSError):  # it is not empty
            content = list(directory.iterdir())
            if all(path.name.startswith(CLAIM) for path in content):
                for path in content:
                    path.unlink()
            directory.rmdir()


def discard(directory: Path) -> None:
    """Removes a directory that this process created, with its content."""
    if directory.absolute() in _created:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        remove_empty()


@contextmanager
def held(directory: Path, seconds: float = 0) -> Iterator[None]:
    """Keeps other processes from writing into a run directory in the meantime; the end of this process, too, frees it.
    Raises UserError if another process holds it for so many seconds, or it is not writable."""
    create(directory)
    path = directory / _LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        holder = path.read_text() or "another process"
        raise UserError(
            f"{directory} is being written by {holder}; wait until that has ended, or set another "
            "trainer.default_root_dir"
        ) from error
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(f"{directory} is not writable; set another trainer.default_root_dir") from error
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        print(f"the file system of {directory} has no locks: start no other process that writes there", flush=True)
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_held(directory: Path) -> bool:
    """Whether a process writes into a run directory."""
    path = directory / _LOCK
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False):
            return False  # a process that was killed left it
    except (Timeout, OSError):  # a lock that cannot be tested counts as held
        return True


def is_run(directory: Path) -> bool:
    """Whether a directory holds a run; false if it cannot be read."""
    return os.path.isfile(directory / CONFIG) or os.path.isdir(directory / CHECKPOINTS)


def is_resumable(directory: Path) -> bool:
    """Whether a directory holds a checkpoint to resume from."""
    return any((directory / CHECKPOINTS / name).is_file() for name in (LAST, PREVIOUS))


def check_is_new(directory: Path) -> None:
    """Raises UserError if a directory holds a run, which a new one would overwrite."""
    if is_run(directory):
        raise UserError(
            f"{directory} already holds a run; resume it with `fit --resume {directory}`, or set another "
            "trainer.default_root_dir"
        )


def named(name: str) -> Path:
    """The folder of a study or a sweep among the runs. Raises UserError if the name is a path."""
    if Path(name).name != name or name == "..":
        raise UserError(f"--name {name} must be the name of a folder in {LOGS}, without slashes")
    return LOGS / name


def all_in(logs: Path) -> list[Path]:
    """The runs in a folder: `<recipe>/<run>`, or `<run>`."""
    return sorted(filter(is_run, [*logs.glob("*"), *logs.glob("*/*")]))


def find(reference: str | Path, logs: Path = LOGS) -> Path:
    """The directory of an existing run, by its path, `recipe/run`, or `recipe` for its latest run. Raises UserError if
    there is none; the message names the latest runs."""
    for place in (Path(reference), logs / reference):
        if is_run(place):
            return place
        if inside := list(filter(is_run, place.glob("*"))):
            return max(inside, key=_trained)
    known = sorted(all_in(logs), key=_trained)
    latest = ", ".join(str(path) for path in known[-3:]) or f"none in {logs}"
    raise UserError(f"{reference} is not a run directory: {CONFIG} not found in it. Latest runs: {latest}")


def _trained(directory: Path) -> tuple[float, Path]:
    """When it was last trained, which a test of an older run does not change."""
    files = (directory / CONFIG, directory / CHECKPOINTS)
    return max(file.stat().st_mtime for file in files if file.exists()), directory


def find_checkpoint(directory: Path, *names: str) -> Path:
    """The first of the named checkpoints that exists. Raises UserError if none does."""
    for name in names:
        if (path := directory / CHECKPOINTS / name).is_file():
            return path
    raise UserError(
        f"{' and '.join(names)} not found in {directory / CHECKPOINTS}: the run ended before its first checkpoint"
    )


def find_best_or_last(directory: Path, which: str) -> Path:
    """The `best` or the `last` checkpoint of a run; the last one, or the one before it, where there is no best."""
    return find_checkpoint(directory, *([BEST] if which == "best" else []), LAST, PREVIOUS)


def find_weights(reference: str | Path, logs: Path = LOGS) -> Path:
    """A checkpoint file as it is, or that of a run: `RUN` is its best (without validation its last) checkpoint,
    `RUN@last` its last."""
    path, text = Path(reference), str(reference)
    if path.is_file():
        return path
    name, _, which = text.rpartition("@") if "@" in path.name and not path.is_dir() else (text, "", "")
    if which not in ("", "best", "last"):
        raise UserError(f"{reference} ends in @{which}; use RUN, RUN@best or RUN@last")
    return find_best_or_last(find(name, logs), which or "best")


def write_text(path: Path, text: str) -> None:
    """Replaces a file atomically; creates its folder."""
    with replacing(path) as part:
        part.write_text(text)


def diff(saved: Any, current: Any, prefix: str = "") -> list[str]:
    """The differences between two nested configurations, one line per key."""
    if isinstance(saved, dict) and isinstance(current, dict):
        keys = dict.fromkeys([*saved, *current])
        return [line for key in keys for line in diff(saved.get(key), current.get(key), f"{prefix}{key}.")]
    return [] if saved == current else [f"{prefix[:-1]} was {saved}, is {current}"]
