"""Getting an archive from the first of several addresses that serves it well."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from rich.progress import DownloadColumn, TransferSpeedColumn

from src.data.storage.archive import Archive, check, checksum
from src.data.storage.disk import OF_THE_DISK, check_room, locked
from src.data.storage.progress import progress, say
from src.errors import UserError

CONNECTIONS = 3  # to one address in a row, as long as each brings something
CHUNK_BYTES = 1 << 18


class Crawls(Exception):
    """An address is too slow."""

    def __init__(self, bytes_per_second: float) -> None:
        super().__init__(f"sends {bytes_per_second / 1000:.1f} kB/s")
        self.bytes_per_second = bytes_per_second


class Useless(Exception):
    """An address does not have the file as it must be; the text is the reason."""


def fetch(
    target: Path,
    archive: Archive,
    *,
    advice: str = "",
    min_bytes_per_second: float = 200e3,
    patience_seconds: float = 20.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Sees to it that `target` is there and whole. Until its checksum is right the file is called
    `<target>.part`, and a later call goes on with that.

    Args:
        target: where the file is to lie. One that is there already is checked and left alone.
        archive: what to get.
        advice: what else a user can do, for the message when no address has the file.
        min_bytes_per_second: an address slower than this is left for the next one. Where none is better,
            the slow ones get all the time they need, the fastest first.
        patience_seconds: over which the rate is averaged, and how long silence is borne.
        clock: tells the seconds.

    Raises:
        UserError: if no address had the file, another file has its name, or the folder cannot be written to.
    """
    if _there(target, archive):  # before the lock, which would have to be written
        return
    part = target.with_name(target.name + ".part")
    with locked(target):
        if _there(target, archive):  # another process was quicker
            return
        if not _whole(part, archive):
            missing = archive.size - _length(part)
            check_room(missing, target.parent, "are to be downloaded", "or name another folder.")
            columns = DownloadColumn(), TransferSpeedColumn()
            with progress(target.name, archive.size, *columns, line=_megabytes) as report:
                download = _Download(part, archive, advice, patience_seconds, clock, report)
                download.from_any(min_bytes_per_second)
        part.replace(target)


@dataclass
class _Download:
    part: Path
    archive: Archive
    advice: str
    patience: float
    clock: Callable[[], float]
    report: Callable[[int], None]

    def from_any(self, minimum: float) -> None:
        """The addresses in turn, then those again that were only slow."""
        reasons: dict[str, str] = {}
        rates: dict[str, float] = {}
        todo = [(url, minimum) for url in self.archive.urls]
        while todo:
            url, floor = todo.pop(0)
            if not todo and not rates:
                floor = 0.0  # no other to turn to
            host = urlsplit(url).netloc
            say(f"{self.part.stem} from {host}")
            try:
                return self.from_one(url, floor)
            except Crawls as error:
                reasons[url], rates[url] = str(error), error.bytes_per_second
            except Useless as error:
                reasons[url] = str(error)
            say(f"{host}: {reasons[url]}")
            if not todo and floor:
                todo = [(slow, 0.0) for slow in sorted(rates, key=rates.__getitem__, reverse=True)]
        tried = "".join(f"\n  {url}: {reason}" for url, reason in reasons.items())
        name, folder = self.part.stem, self.part.parent
        raise UserError(f"{name} is not in {folder}, and no address gives it:{tried}\n{self.advice}".strip())

    def from_one(self, url: str, floor: float) -> None:
        """Goes on with the part until it is whole, over several connections if they break."""
        trouble = ""
        for _ in range(CONNECTIONS):
            before, start = _length(self.part), -1
            try:
                start = self.receive(url, floor)
                trouble = f"broke off after {_length(self.part):,} of {self.archive.size:,} bytes"
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                    raise
                trouble = self.reason(error)
                if _length(self.part) <= before:
                    break
                if floor and isinstance(error, TimeoutError):
                    raise Crawls(0.0) from error
            if _length(self.part) >= self.archive.size:
                if _whole(self.part, self.archive):
                    return
                trouble = f"sends a file whose MD5 is not {self.archive.md5}"
                if start == 0:  # otherwise the beginning, of an earlier connection, may be what was wrong
                    break
        raise Useless(trouble)

    def receive(self, url: str, floor: float) -> int:
        """Adds what one connection brings. Returns the byte it began with: 0 where a server cannot begin in
        the middle, and the part begins anew."""
        size, start = self.archive.size, _length(self.part)
        headers = {"User-Agent": "research-template/1.0"} | ({"Range": f"bytes={start}-"} if start else {})
        since = self.clock()
        with urlopen(Request(url, headers=headers), timeout=self.patience) as response:
            # Before the file is opened: a page that says "log in" must not cost the part that is there.
            if response.status == 206:
                span = response.headers.get("Content-Range", "")
                if span not in (f"bytes {start}-{size - 1}/{size}", f"bytes {start}-{size - 1}/*"):
                    raise Useless(f"offers {span!r}, asked for was bytes {start}-{size - 1}/{size}")
            else:
                start = 0
                if (length := response.headers.get("Content-Length", str(size))) != str(size):
                    raise Useless(f"offers a file of {length} bytes, expected are {size}")
            with self.part.open("ab" if start else "wb") as file:
                # read1 returns what has come; read would wait for all of it, hours where bytes trickle.
                chunks = iter(lambda: response.read1(CHUNK_BYTES), b"")
                self.store(chunks, file, start, floor, since)
                # Lest a power cut after the renaming leave half a file under the name of a whole one.
                os.fsync(file.fileno())
        return start

    def store(self, chunks: Iterator[bytes], file: BinaryIO, done: int, floor: float, since: float) -> None:
        """Writes chunks as they come, at no less than `floor` bytes a second."""
        received = 0
        for chunk in chunks:
            file.write(chunk)
            file.flush()
            done += len(chunk)
            received += len(chunk)
            self.report(done)
            if done > self.archive.size:
                self.part.unlink()
                raise Useless(f"sends more than {self.archive.size} bytes")
            elapsed = self.clock() - since
            if elapsed >= self.patience and done < self.archive.size:
                if received < floor * elapsed:
                    raise Crawls(received / elapsed)
                since, received = self.clock(), 0

    def reason(self, error: Exception) -> str:
        """Why a connection failed, in a few words."""
        if isinstance(error, HTTPError):
            error.close()
            return f"answers {error.code} {error.reason}"
        inner = error.reason if isinstance(error, URLError) else error
        if isinstance(inner, TimeoutError):
            return f"silent for {self.patience:g} s"
        return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def _there(target: Path, archive: Archive) -> bool:
    if target.exists():
        check(target, archive.md5, f"Move {target} away to have it fetched anew.")
    return target.exists()


def _whole(part: Path, archive: Archive) -> bool:
    """Whether a part is the file. One of full length that is not goes: nothing can be made of it."""
    if _length(part) < archive.size:
        return False
    if checksum(part) == archive.md5:
        return True
    part.unlink()
    return False


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _megabytes(done: int, size: int) -> str:
    return f"{done / 1e6:.0f} of {size / 1e6:.0f} MB"
