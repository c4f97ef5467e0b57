"""Downloads from the first of several mirrors that serves a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import fsspec
from fsspec.callbacks import Callback
from rich.progress import DownloadColumn, TransferSpeedColumn

from src.data.storage.archive import check_md5, md5sum
from src.data.storage.disk import DISK_ERRNOS, check_free_space, exclusive
from src.data.storage.progress import info, progress
from src.errors import UserError

MIN_RATE = 200e3  # bytes/s; a slower mirror is left for the next one, and used if all others fail
TIMEOUT = 20.0  # seconds without data after which a mirror has failed, and after which its rate is checked


class MirrorError(Exception):
    """Why a mirror does not serve a file."""


class SlowMirror(MirrorError):
    """A mirror sends less than the minimum rate."""


def download(urls: Sequence[str], target: Path, md5: str, num_bytes: int, advice: str = "") -> None:
    """Downloads a file, once per file system. Only a file with the right checksum gets the name `target`.

    Args:
        urls: mirrors, in the order in which they are tried.
        target: the file to write. If it exists, its checksum is compared instead.
        md5: checksum of the file.
        num_bytes: size of the file.
        advice: end of the error message if every mirror fails.

    Raises:
        UserError: if every mirror fails, `target` has another checksum, or its folder cannot be written.
    """
    if target.exists():  # without the lock: the folder may be read-only
        return check_md5(target, md5, f"Move {target} away to download it again.")
    with exclusive(target) as part:
        if target.exists():  # another process has downloaded it
            return
        check_free_space(target.parent, num_bytes, "the download")
        mirrors = deque((url, MIN_RATE) for url in urls)
        errors: dict[str, str] = {}
        with progress(target.name, num_bytes, DownloadColumn(), TransferSpeedColumn(), line=_megabytes) as report:

            def monitor(_: int | None, value: int) -> None:
                report(value)
                seconds = monotonic() - start
                if value > num_bytes:
                    raise MirrorError(f"sends more than {num_bytes:,} bytes")
                if seconds > TIMEOUT and 0 < value < min(num_bytes, rate * seconds):
                    raise SlowMirror(f"sends {value / seconds / 1000:.1f} kB/s")

            while mirrors:
                (url, rate), start = mirrors.popleft(), monotonic()
                info(f"downloading {target.name} from {url}")
                try:
                    _get(url, part, Callback(hooks={"monitor": monitor}))
                    if (actual := md5sum(part)) == md5:
                        part.rename(target)
                        return
                    raise MirrorError(f"sends a file of {part.stat().st_size:,} bytes with MD5 {actual}, not {md5}")
                except MirrorError as error:
                    errors[url] = str(error)
                    info(f"{url}: {error}")
                    if isinstance(error, SlowMirror):
                        mirrors.append((url, 0.0))
    failures = "".join(f"\n  {url}: {error}" for url, error in errors.items())
    raise UserError(f"{target} does not exist, and no mirror serves it:{failures}\n{advice}".strip())


def _get(url: str, part: Path, callback: Callback) -> None:
    import aiohttp  # takes 0.1 s, which only a download needs

    client_kwargs = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT),
        "auto_decompress": False,  # some servers declare a tar.gz as a compressed tar
        "trust_env": True,  # proxies
    }
    try:
        http = fsspec.filesystem("http", client_kwargs=client_kwargs, skip_instance_cache=True)
        http.get_file(url, str(part), callback=callback)
    except FileNotFoundError as error:
        raise MirrorError("404 Not Found") from error
    except TimeoutError as error:
        raise MirrorError(f"sends nothing for {TIMEOUT:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError) and error.errno in DISK_ERRNOS:
            raise
        raise MirrorError(str(error) or type(error).__name__) from error


def _megabytes(done: int, total: int) -> str:
    return f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
