"""Writing to a file system that several processes share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from src.data.storage.progress import info
from src.errors import UserError


def check_free_space(folder: Path, num_bytes: int, purpose: str) -> None:
    """Raises UserError if the disk of `folder` has less than `num_bytes` free."""
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise UserError(
            f"{folder} has {free / 1e6:,.0f} MB free, but {purpose} needs {num_bytes / 1e6:,.0f} MB. Free some space, "
            "or set another folder"
        )


@contextmanager
def exclusive(target: Path) -> Iterator[Path]:
    """Lets one process at a time create `target`; the others wait, on all machines that share the file system.

    Yields an empty folder next to `target`, in which to write what is then renamed; it is deleted at the end. Raises
    UserError if it cannot be written.
    """
    part, lock = (target.with_name(target.name + suffix) for suffix in (".part", ".lock"))
    missing = [folder for folder in target.absolute().parents if not folder.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file_lock = FileLock(lock)
        try:
            file_lock.acquire(timeout=0)
        except Timeout:
            info(f"waiting for another process that writes {target}")
            file_lock.acquire()
        try:
            shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
            part.mkdir()
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)
            lock.unlink(missing_ok=True)  # before the release: filelock ignores a lock on a deleted file
            file_lock.release()
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror or error}. Free some space or allow writing in "
            f"{target.parent}, or set another folder"
        ) from error
    finally:
        with suppress(OSError):  # something was written
            for folder in missing:
                folder.rmdir()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process at a time into a block that downloads to a folder what is not there, so that the others find it
    there. All at once if the folder cannot be written."""
    path = folder / ".lock"
    lock = FileLock(path)
    with suppress(OSError, NotImplementedError):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)  # before the release, as above
        lock.release()
