"""An archive file: what it must be, and unpacking it, once per file system."""

from __future__ import annotations

import errno
import hashlib
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from src.data.progress import say
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


class Archive(NamedTuple):
    """A file as it must arrive.

    Attributes:
        urls: where it is to be had, best first.
        md5: its checksum.
        size: its length in bytes.
    """

    urls: Sequence[str]
    md5: str
    size: int


def checksum(path: Path) -> str:
    """MD5, which is what data sets are published with."""
    with path.open("rb") as file:
        # usedforsecurity: machines in FIPS mode refuse MD5 otherwise.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check(path: Path, md5: str, advice: str) -> None:
    """Raises UserError, with `advice` at its end, unless a file has this checksum."""
    if (found := checksum(path)) != md5:
        raise UserError(
            f"{path} was altered or is not complete: its MD5 is {found} ({path.stat().st_size:,} bytes), "
            f"expected is {md5}. {advice}"
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


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks the folder of that name to where it is to lie: whole, or not at all.

    Args:
        archive: a tar file whose checksum was found right.
        folder: one that is there already is left alone.

    Raises:
        UserError: if the place cannot be written to.
    """
    part = folder.with_name(folder.name + ".part")
    with locked(folder):
        if folder.exists():
            return
        if part.exists():  # of a process that was killed
            shutil.rmtree(part)
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
        (part / folder.name).rename(folder)
        part.rmdir()
