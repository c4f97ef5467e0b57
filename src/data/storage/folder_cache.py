"""The cache of a folder of images, decoded once: see `image_cache`. In addition it holds

keys.npy    what tells whether a file has changed, uint64 (N,)
files.csv   which file each sample is; samples are counted through training and validation, and from 0 in the test set

and meta.json has the fingerprint of the files, the counts of the subsets, mean and std of the training images, and the
reason for each file that cannot be decoded (`bad`), so that the next start need not decode everything to find them.

Shapes: N files, S rows and columns, C = 3 channels.
"""

import csv
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from src.data.storage import image_cache
from src.data.storage.decode import Resize, decode
from src.data.storage.disk import check_free_space, exclusive
from src.data.storage.folder_scan import CACHE_TAG, SUBSETS, Listing
from src.data.storage.image_cache import PIXELS, ImageCache
from src.data.storage.progress import info, progress

VERSION = 2  # of the format
CHANNELS = 3
BLOCK = 256  # images that wait in memory to be written, enough to keep many threads busy
_KEYS, _FILES = "keys.npy", "files.csv"


@dataclass(frozen=True)
class FolderCache:
    """Finds, creates and updates the cache of some files."""

    root: Path
    files: Listing
    size: int
    resize: Resize
    cache_dir: Path

    @property
    def num_bytes(self) -> int:
        return len(self.files.paths) * self.size**2 * CHANNELS

    @property
    def _origin(self) -> dict[str, Any]:
        """What caches must have in common to copy images from each other."""
        return {"version": VERSION, "root": str(self.root), "size": self.size, "resize": self.resize}

    @property
    def _folder(self) -> Path:
        # Without the root, so that a dataset that was moved keeps its cache.
        digest = blake2b(f"{VERSION} {self.size} {self.resize}".encode(), digest_size=12)
        for array in (self.files.keys_N, self.files.subsets_N, self.files.labels_N):
            digest.update(array.data)
        return self.cache_dir / self.root.name / digest.hexdigest()

    def find(self) -> ImageCache | None:
        """The cache of exactly these files, if it exists and its bad files still cannot be decoded."""
        cache = image_cache.load(self._folder)
        return cache if cache and all(isinstance(self._decode(path), str) for path in cache.meta["bad"]) else None

    def open(self) -> ImageCache:
        """The cache of these files. One process creates it, the others wait. Images that have not changed are copied
        from an older cache of the same folder, which is then deleted."""
        if cache := self.find():  # without the lock: cache_dir may be read-only
            return cache
        siblings = self._folder.parent
        with exclusive(siblings) as part:
            if not (cache := self.find()):  # otherwise another process has created it
                siblings.mkdir(exist_ok=True)
                older = [old for path in siblings.iterdir() if (old := image_cache.load(path, **self._origin))]
                self._create(part, older[0] if older else None)
                for outdated in {self._folder, *(old.folder for old in older)}:
                    shutil.rmtree(outdated, ignore_errors=True)  # a process that has it open keeps it
                part.rename(self._folder)
                cache = image_cache.load(self._folder)
        assert cache
        return cache

    def _decode(self, path: str) -> NDArray[np.uint8] | str:
        return decode(f"{self.root}/{path}", self.size, self.resize)

    def _create(self, folder: Path, old: ImageCache | None) -> None:
        check_free_space(self.cache_dir, self.num_bytes, "the cache of decoded images")
        (self.cache_dir / CACHE_TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        is_good_N = np.ones(len(self.files.paths), bool)
        bad: dict[str, str] = {}
        histogram_C256 = np.zeros((CHANNELS, 256))
        with (folder / PIXELS).open("wb") as pixels:
            for index, decoded in enumerate(self._images(old)):
                if isinstance(decoded, str):
                    is_good_N[index], bad[self.files.paths[index]] = False, decoded
                    continue
                pixels.write(decoded.data)
                if SUBSETS[self.files.subsets_N[index]] == "train":
                    for channel, counts in enumerate(histogram_C256):
                        counts += np.bincount(decoded[..., channel].ravel(), minlength=256)
        files = self.files.take(is_good_N.nonzero()[0])
        train, val, test = np.bincount(files.subsets_N, minlength=len(SUBSETS)).tolist()
        counts = {"train": train, "val": val, "test": test}
        meta = {**self._origin, "fingerprint": self._folder.name, "counts": counts, **_mean_and_std(histogram_C256)}
        image_cache.complete(folder, (self.size, self.size, CHANNELS), files.labels_N, **meta, bad=bad)
        np.save(folder / _KEYS, files.keys_N)
        # Names need not be valid text; surrogateescape writes their bytes.
        with (folder / _FILES).open("w", newline="", errors="surrogateescape") as table:
            samples = chain(range(train + val), range(test))
            csv.writer(table).writerow(["sample", "subset", "file"])
            csv.writer(table).writerows(zip(samples, (SUBSETS[k] for k in files.subsets_N), files.paths, strict=True))

    def _images(self, old: ImageCache | None) -> Iterator[NDArray[np.uint8] | str]:
        """Each file's pixels, or the reason why it cannot be decoded."""
        n = len(self.files.paths)
        old_row_N = np.full(n, -1)
        if old:
            _, indices, rows = np.intersect1d(self.files.keys_N, np.load(old.folder / _KEYS), return_indices=True)
            old_row_N[indices] = rows

        def image(index: int) -> NDArray[np.uint8] | str:
            if old and old_row_N[index] >= 0:
                return old.images.images_NHWC[old_row_N[index]].numpy()
            return self._decode(self.files.paths[index])

        changed = f", {(old_row_N < 0).sum():,} of them new or changed" if old else ""
        info(f"{self.root}: decoding {n:,} images into {self.cache_dir}{changed}")
        Image.init()  # otherwise the first thread registers the formats while others look them up
        # Threads, since Pillow releases the GIL; each process would have to import the program first.
        with ThreadPoolExecutor() as pool, progress(self.root.name, n, " images") as bar:
            for start in range(0, n, BLOCK):
                block = range(start, min(n, start + BLOCK))
                yield from pool.map(image, block)
                bar.update(len(block))


def _mean_and_std(histogram_C256: NDArray[np.float64]) -> dict[str, list[float]]:
    """Of each channel, in [0, 1], to 4 digits."""
    values = np.arange(256) / 255
    fraction_C256 = histogram_C256 / histogram_C256.sum(1, keepdims=True).clip(min=1)
    mean_C = fraction_C256 @ values
    std_C = np.sqrt((fraction_C256 * (values - mean_C[:, None]) ** 2).sum(1)).round(4)
    std_C[std_C == 0] = 1  # a constant channel is divided by 1
    return {"mean": mean_C.round(4).tolist(), "std": std_C.tolist()}
