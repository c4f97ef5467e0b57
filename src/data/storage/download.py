"""Downloads and unpacks a published archive, each time completely or not at all."""

import tarfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import fsspec
from fsspec.callbacks import Callback
from torchvision.datasets.utils import calculate_md5

from src.data.storage.disk import check_free_space, exclusive
from src.data.storage.progress import info, progress
from src.errors import UserError

MIN_RATE = 200e3  # bytes/s; a slower mirror is left for the next one, and used if all others fail
TIMEOUT = 20.0  # seconds without data after which a mirror has failed, and after which its rate is checked


class MirrorError(Exception):
    """Why a mirror does not serve a file."""


class SlowMirror(MirrorError):
    """A mirror sends less than the minimum rate."""


def check_md5(path: Path, md5: str, advice: str) -> None:
    """Raises UserError, with `advice` at its end, if a file does not have this checksum."""
    if (actual := calculate_md5(path)) != md5:
        raise UserError(
            f"{path} is corrupted or incomplete: its MD5 is {actual} ({path.stat().st_size:,} bytes), expected {md5}. "
            f"{advice}"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks `folder` from a tar file that has a folder of this name. Raises UserError if it cannot be written."""
    with exclusive(folder) as part:
        if not folder.exists():  # otherwise another process has unpacked it
            with tarfile.open(archive) as tar:
                tar.extractall(part, filter="data")
            (part / folder.name).rename(folder)


def download(urls: Sequence[str], target: Path, md5: str, num_bytes: int, advice: str = "") -> None:
    """Downloads a file of `num_bytes` from the first mirror that serves it, once per file system. Only a file with the
    right checksum gets the name `target`; if that exists, its checksum is compared instead.

    Raises UserError if every mirror fails (it ends with `advice`), `target` has another checksum, or its folder cannot
    be written.
    """
    if target.exists():  # without the lock: the folder may be read-only
        return check_md5(target, md5, f"Move {target} away to download it again.")
    with exclusive(target) as part:
        if target.exists():  # another process has downloaded it
            return
        check_free_space(target.parent, num_bytes, "the download")
        errors: dict[str, MirrorError] = {}
        attempts = [(url, MIN_RATE) for url in urls]
        for url, min_rate in attempts:
            info(f"downloading {target.name} from {url}")
            try:
                _get(url, part / target.name, md5, num_bytes, min_rate)
            except MirrorError as error:
                info(f"{url}: {error}")
                errors[url] = error
                if isinstance(error, SlowMirror):
                    attempts.append((url, 0.0))
            else:
                (part / target.name).rename(target)
                return
    failures = "".join(f"\n  {url}: {error}" for url, error in errors.items())
    raise UserError(f"{target} does not exist, and no mirror serves it:{failures}\n{advice}".strip())


def _get(url: str, file: Path, md5: str, num_bytes: int, min_rate: float) -> None:
    import aiohttp  # takes 0.1 s, which only a download needs

    start = monotonic()

    def check(_: int | None, value: int) -> None:
        bar.update(value - bar.n)
        seconds = monotonic() - start
        if value > num_bytes:
            raise MirrorError(f"sends more than {num_bytes:,} bytes")
        if seconds > TIMEOUT and 0 < value < min(num_bytes, min_rate * seconds):
            raise SlowMirror(f"sends {value / seconds / 1000:.1f} kB/s")

    client_kwargs = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT),
        "auto_decompress": False,  # some servers declare a tar.gz as a compressed tar
        "trust_env": True,  # proxies
    }
    http = fsspec.filesystem("http", client_kwargs=client_kwargs, skip_instance_cache=True)
    try:
        with progress(file.name, num_bytes, "B") as bar:
            http.get_file(url, str(file), callback=Callback(hooks={"check": check}))
    except FileNotFoundError as error:
        raise MirrorError("404 Not Found") from error
    except TimeoutError as error:
        raise MirrorError(f"sends nothing for {TIMEOUT:g} s") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise MirrorError(str(error) or type(error).__name__) from error
    if (actual := calculate_md5(file)) != md5:
        raise MirrorError(f"sends a file of {file.stat().st_size:,} bytes with MD5 {actual}, not {md5}")
