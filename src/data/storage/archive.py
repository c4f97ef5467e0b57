"""An archive file: what it must be, and unpacking it, once per file system."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.data.storage.disk import locked
from src.errors import UserError


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
