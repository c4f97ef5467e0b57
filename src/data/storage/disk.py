"""A folder that files are to be made in: whether there is room, and whose turn it is."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from src.data.storage.progress import say
from src.errors import UserError

# What an OSError says when the folder, not the network, is the trouble.
OF_THE_DISK = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def check_room(needed: int, folder: Path, purpose: str, advice: str) -> None:
    """Raises UserError, with `advice` at its end, unless a folder has room for so many bytes that have a purpose."""
    if (free := shutil.disk_usage(folder).free) < needed:
        raise UserError(
            f"{folder} has {free / 1e6:,.0f} MB free, and {needed / 1e6:,.0f} MB {purpose} there. Make room, {advice}"
        )


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Makes the folder of `target` and lets one process at a time work there, of all that share the file
    system. What the disk has against the work becomes a UserError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(target.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"waiting for another process that makes {target}")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise UserError(
            f"{target} cannot be made: {error.strerror}. Make room or allow writing in {target.parent}, or "
            "name another folder."
        ) from error
