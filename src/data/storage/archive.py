"""Archives of images, unpacked once."""

import shutil
import tarfile
import zipfile
import zlib
from hashlib import blake2b
from pathlib import Path

from src.data.storage.disk import exclusive
from src.data.storage.folder_scan import CACHE_TAG
from src.data.storage.progress import info
from src.errors import UserError

UNPACKED = "unpacked"  # in the folder of caches


def folder_of(path: Path, cache_dir: Path) -> Path:
    """The folder with the content of a zip or tar file, unpacked into `cache_dir` at the first call; a folder as it is.

    A folder that is alone in the archive is opened. Raises UserError if the file is not an archive or is damaged.
    """
    if not path.is_file():
        return path
    status = path.stat()
    key = blake2b(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}".encode(), digest_size=6).hexdigest()
    folder = cache_dir / UNPACKED / f"{path.name.split('.')[0]}-{key}"
    if not folder.is_dir():
        with exclusive(folder) as part:
            if not folder.is_dir():  # otherwise another process has unpacked it
                info(f"unpacking {path} into {folder}")
                _unpack(path, part / "content")
                (part / "content").rename(folder)
                (cache_dir / UNPACKED / CACHE_TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    inside = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _unpack(path: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(path):
            shutil.unpack_archive(path, folder, "zip")
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        else:
            raise UserError(f"data_dir {path} is a file that is no zip or tar archive; give a folder or an archive")
    except (zipfile.BadZipFile, shutil.ReadError, tarfile.TarError, EOFError, zlib.error, RuntimeError) as error:
        raise UserError(f"{path} cannot be unpacked: {error}. It is damaged, encrypted or unsafe") from error
