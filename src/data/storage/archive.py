"""Archive files: their checksum and how they are unpacked."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

from src.data.storage.disk import exclusive
from src.errors import UserError


def md5sum(path: Path) -> str:
    """The MD5 checksum of a file, which is what datasets are published with."""
    with path.open("rb") as file:
        # usedforsecurity: machines in FIPS mode reject MD5 otherwise.
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_md5(path: Path, md5: str, advice: str) -> None:
    """Raises UserError, with `advice` at its end, if a file does not have this checksum."""
    if (actual := md5sum(path)) != md5:
        raise UserError(
            f"{path} is corrupted or incomplete: its MD5 is {actual} ({path.stat().st_size:,} bytes), expected {md5}. "
            f"{advice}"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks `folder` from a tar file that has a folder of this name, completely or not at all. Raises UserError if it
    cannot be written."""
    with exclusive(folder) as part:
        if not folder.exists():
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
            (part / folder.name).rename(folder)
