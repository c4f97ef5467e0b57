"""The cache of a folder of images, decoded once: see `image_cache`. In addition it holds

keys.npy    what tells whether a file has changed, uint64 (N,)
files.csv   which file each sample is

and meta.json names the files that cannot be decoded, so that the next start need not decode everything to find them.

Shapes: N images, B of them in a block, S rows and columns, C = 3 channels.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import MofNCompleteColumn

from src.data.batch import ImageSet
from src.data.storage import image_cache
from src.data.storage.decode import Resize, decode
from src.data.storage.disk import check_free_space, exclusive
from src.data.storage.folder_scan import SUBSETS, Listing
from src.data.storage.image_cache import ImageCache
from src.data.storage.progress import info, progress

VERSION = 2  # of the format
CHANNELS = 3
# Images decoded and written at once: 16 MB, and enough to keep many threads busy.
BLOCK_BYTES, BLOCK_IMAGES = 1 << 24, 128
_KEYS, _FILES = "keys.npy", "files.csv"


@dataclass(frozen=True)
class FolderCache:
    """Finds, creates and updates the cache of some files.

    Its meta.json has the fingerprint of the files, the counts of the subsets, mean and std of the training images, and
    the reason for each file that cannot be decoded (`bad`).
    """

    root: Path
    files: Listing
    size: int
    resize: Resize
    cache_dir: Path

    @property
    def num_bytes(self) -> int:
        return len(self.files.paths) * self.size**2 * CHANNELS

    def find(self) -> ImageCache | None:
        """The cache of exactly these files, if it exists and its bad files still cannot be decoded."""
        cache = image_cache.load(self._folder())
        return cache if cache and all(isinstance(self._decode(path), str) for path in cache.meta["bad"]) else None

    def open(self) -> ImageCache:
        """The cache of these files. One process creates it, the others wait. Images that have not changed are copied
        from an older cache of the same folder, which is then deleted."""
        if cache := self.find():  # without the lock: cache_dir may be read-only
            return cache
        folder = self._folder()
        siblings = folder.parent
        with exclusive(siblings) as part:
            if not (cache := self.find()):  # otherwise another process has created it
                siblings.mkdir(exist_ok=True)
                older = [old for path in siblings.iterdir() if (old := image_cache.load(path, **self._origin()))]
                self._create(part, older[0] if older else None)
                for outdated in {folder, *(old.folder for old in older)}:
                    shutil.rmtree(outdated, ignore_errors=True)  # a process that has it open keeps it
                part.rename(folder)
                cache = image_cache.load(folder)
        assert cache
        return cache

    def _origin(self) -> dict[str, Any]:
        """What caches must have in common to copy images from each other."""
        return {"version": VERSION, "root": str(self.root), "size": self.size, "resize": self.resize}

    def _folder(self) -> Path:
        # Without the root, so that a dataset that was moved keeps its cache.
        digest = blake2b(f"{VERSION} {self.size} {self.resize}".encode(), digest_size=12)
        for array in (self.files.keys_N, self.files.subsets_N, self.files.labels_N):
            digest.update(array.data)
        return self.cache_dir / self.root.name / digest.hexdigest()

    def _decode(self, path: str) -> NDArray[np.uint8] | str:
        return decode(f"{self.root}/{path}", self.size, self.resize)

    def _create(self, folder: Path, old: ImageCache | None) -> None:
        n = len(self.files.paths)
        old_index_N = np.full(n, -1)
        if old:
            _, new, index = np.intersect1d(self.files.keys_N, np.load(old.folder / _KEYS), return_indices=True)
            old_index_N[new] = index
        check_free_space(self.cache_dir, self.num_bytes, "the cache of decoded images")
        changed = f", {(old_index_N < 0).sum():,} of them new or changed" if old else ""
        info(f"{self.root}: decoding {n:,} images into {self.cache_dir}{changed}")
        is_good_N = np.ones(n, bool)
        histogram_C256 = np.zeros((CHANNELS, 256))
        bad: dict[str, str] = {}
        meta: dict[str, Any] = {**self._origin(), "fingerprint": self._folder().name, "bad": bad}

        def image(index: int) -> NDArray[np.uint8] | str:
            if old and old_index_N[index] >= 0:
                return old.images.images_NHWC[old_index_N[index]].numpy()
            return self._decode(self.files.paths[index])

        def blocks() -> Iterator[ImageSet]:
            Image.init()  # otherwise the first thread registers the formats while others look them up
            size = max(BLOCK_IMAGES, BLOCK_BYTES // (self.size**2 * CHANNELS))
            line = "{:,} of {:,} images".format
            # Threads, since Pillow releases the GIL; each process would have to import the program first.
            with ThreadPoolExecutor() as pool, progress(self.root.name, n, MofNCompleteColumn(), line=line) as report:
                for start in range(0, n, size):
                    indices_B = np.arange(start, min(n, start + size))
                    images: list[NDArray[np.uint8]] = []
                    for index, decoded in zip(indices_B, pool.map(image, indices_B), strict=True):
                        if isinstance(decoded, str):
                            is_good_N[index], bad[self.files.paths[index]] = False, decoded
                            continue
                        images.append(decoded)
                        if self.files.subsets_N[index] == 0:
                            for channel, counts in enumerate(histogram_C256):
                                counts += np.bincount(decoded[..., channel].ravel(), minlength=256)
                    images_BHWC = np.array(images, np.uint8).reshape(-1, self.size, self.size, CHANNELS)
                    labels_B = self.files.labels_N[indices_B[is_good_N[indices_B]]]
                    yield ImageSet(torch.from_numpy(images_BHWC), torch.from_numpy(labels_B))
                    report(start + len(indices_B))
            counts = np.bincount(self.files.subsets_N[is_good_N], minlength=len(SUBSETS)).tolist()
            meta["counts"] = dict(zip(SUBSETS, counts, strict=True))
            meta["mean"], meta["std"] = _mean_and_std(histogram_C256)

        image_cache.write(folder, blocks(), meta)
        np.save(folder / _KEYS, self.files.keys_N[is_good_N])
        self._write_csv(folder / _FILES, is_good_N)

    def _write_csv(self, path: Path, is_good_N: NDArray[np.bool_]) -> None:
        # Sample indices count through training and validation, and start again in the test set. Names need not be
        # valid text; surrogateescape writes their bytes.
        with path.open("w", newline="", errors="surrogateescape") as table:
            writer = csv.writer(table)
            writer.writerow(["sample", "subset", "file"])
            samples = {True: 0, False: 0}
            for index in is_good_N.nonzero()[0].tolist():
                subset = SUBSETS[self.files.subsets_N[index]]
                writer.writerow([samples[subset == "test"], subset, self.files.paths[index]])
                samples[subset == "test"] += 1


def _mean_and_std(histogram_C256: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Of each channel, in [0, 1], to 4 digits."""
    values = np.arange(256) / 255
    fraction_C256 = histogram_C256 / histogram_C256.sum(1, keepdims=True).clip(min=1)
    mean_C = fraction_C256 @ values
    std_C = np.sqrt((fraction_C256 * (values - mean_C[:, None]) ** 2).sum(1)).round(4)
    return mean_C.round(4).tolist(), np.where(std_C == 0, 1, std_C).tolist()  # a constant channel is divided by 1
