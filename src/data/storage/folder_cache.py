"""The cache of a folder of images, decoded once: see `image_cache`. In addition it holds

keys.npy    what tells whether a file has changed, uint64 (N,)
ids.npy     hashes of the paths, uint64 (N,)
files.csv   which file each sample is; samples are counted through training and validation, and from 0 in the test set
report.csv  the files that are left out, ignored or used in part, and why

and meta.json has the fingerprint of the files, the counts of the subsets, mean and std of the training images, what
became white in images of more than 8 bits, and the reason for each file that cannot be decoded (`bad`), so that the
next start need not decode everything to find them.

Path, size and modification time decide whether a file has changed. Two folders can have all of them in common, so the
content of some files, always the same ones, belongs to the fingerprint too.

Shapes: N files, S rows and columns, C = 3 channels.
"""

import csv
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.data.storage import depth, image_cache
from src.data.storage.decode import MAX_PIXELS, Decoded, Resize, decode
from src.data.storage.disk import check_free_space, exclusive
from src.data.storage.folder_scan import CACHE_TAG, SUBSETS, Listing
from src.data.storage.image_cache import PIXELS, ImageCache
from src.data.storage.progress import info, progress

VERSION = 3  # of the format
CHANNELS = 3
BLOCK = 256  # images that wait in memory to be written, enough to keep many threads busy
SAMPLED, SAMPLED_BYTES = 256, 1 << 16  # files whose content is compared, and how much from the middle of each
_KEYS, IDS, FILES, REPORT = "keys.npy", "ids.npy", "files.csv", "report.csv"


@dataclass(frozen=True)
class FolderCache:
    """Finds, creates and updates the cache of some files."""

    root: Path
    files: Listing
    size: int
    resize: Resize
    cache_dir: Path
    white: Mapping[str, float] = field(default_factory=dict)  # as of `decode`; estimated if empty
    max_pixels: int = MAX_PIXELS

    @property
    def num_bytes(self) -> int:
        return len(self.files.paths) * self.size**2 * CHANNELS

    @property
    def _origin(self) -> dict[str, Any]:
        """What caches must have in common to copy images from each other."""
        given = {"size": self.size, "resize": self.resize, "given_white": dict(self.white)}
        return {"version": VERSION, "root": str(self.root), **given, "max_pixels": self.max_pixels}

    @cached_property
    def _contents(self) -> dict[str, str]:
        """Checksums of the content of some files, by their keys."""
        chosen = self.files.ids_N.argsort(kind="stable")[:SAMPLED]
        return {str(self.files.keys_N[index]): _content(self.root, self.files.paths[index]) for index in chosen}

    @cached_property
    def _folder(self) -> Path:
        # Without the root, so that a dataset that was moved keeps its cache.
        origin = {**self._origin, "root": "", "contents": self._contents}
        digest = blake2b(json.dumps(origin, sort_keys=True).encode(), digest_size=12)
        for array in (self.files.keys_N, self.files.subsets_N, self.files.labels_N):
            digest.update(array.data)
        return self.cache_dir / self.root.name / digest.hexdigest()

    def find(self) -> ImageCache | None:
        """The cache of exactly these files, if it exists and its bad files still cannot be decoded."""
        cache = image_cache.load(self._folder)
        if cache and all(self._decode(path, cache.meta["white"]).pixels is None for path in cache.meta["bad"]):
            return cache
        return None

    def open(self) -> ImageCache:
        """The cache of these files. One process creates it, the others wait. Images that have not changed are copied
        from an older cache of the same folder, which is then deleted."""
        if cache := self.find():  # without the lock: cache_dir may be read-only
            return cache
        siblings = self._folder.parent
        with exclusive(siblings) as part:
            if not (cache := self.find()):  # otherwise another process has created it
                siblings.mkdir(exist_ok=True)
                found = [old for path in siblings.iterdir() if (old := image_cache.load(path, **self._origin))]
                older = [old for old in found if self._has_contents(old)]
                self._create(part, older[0] if older else None)
                for outdated in {self._folder, *(old.folder for old in found)}:
                    shutil.rmtree(outdated, ignore_errors=True)  # a process that has it open keeps it
                part.rename(self._folder)
                cache = image_cache.load(self._folder)
        assert cache
        return cache

    def _has_contents(self, old: ImageCache) -> bool:
        """Whether the files that seem to be those of an older cache are."""
        return all(old.meta["contents"].get(key, content) == content for key, content in self._contents.items())

    def _decode(self, path: str, white: Mapping[str, float]) -> Decoded:
        return decode(f"{self.root}/{path}", self.size, self.resize, white, self.max_pixels)

    def _white(self, old: ImageCache | None) -> dict[str, float]:
        """What becomes white in images of more than 8 bits of each kind: as given or before, else as in some training
        files."""
        if self.white:
            return dict(self.white)
        training = [f"{self.root}/{self.files.paths[index]}" for index in (self.files.subsets_N == 0).nonzero()[0]]
        white = {**depth.estimate(training), **(old.meta["white"] if old else {})}
        for kind, value in white.items():
            info(
                f"{self.root}: in {kind} images {value:g} becomes white, by their range; data.white sets another value"
            )
        return white

    def _create(self, folder: Path, old: ImageCache | None) -> None:
        check_free_space(self.cache_dir, self.num_bytes, "the cache of decoded images")
        (self.cache_dir / CACHE_TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
        white = self._white(old)
        is_good_N = np.ones(len(self.files.paths), bool)
        bad: dict[str, str] = {}
        partly: dict[str, str] = {}
        histogram_C256 = np.zeros((CHANNELS, 256))
        with (folder / PIXELS).open("wb") as file:
            for index, (pixels, note) in enumerate(self._images(old, white)):
                if pixels is None:
                    is_good_N[index], bad[self.files.paths[index]] = False, note
                    continue
                if note:
                    partly[self.files.paths[index]] = note
                file.write(pixels.data)
                if SUBSETS[self.files.subsets_N[index]] == "train":
                    for channel, counts in enumerate(histogram_C256):
                        counts += np.bincount(pixels[..., channel].ravel(), minlength=256)
        files = self.files.take(is_good_N.nonzero()[0])
        train, val, test = np.bincount(files.subsets_N, minlength=len(SUBSETS)).tolist()
        counts = {"train": train, "val": val, "test": test}
        meta = {
            **self._origin,
            "fingerprint": self._folder.name,
            "counts": counts,
            **image_cache.mean_and_std(histogram_C256),
        }
        meta |= {"contents": self._contents, "white": white, "bad": bad, "partly": partly}
        image_cache.complete(folder, (self.size, self.size, CHANNELS), files.labels_N, **meta)
        np.save(folder / _KEYS, files.keys_N)
        np.save(folder / IDS, files.ids_N)
        samples = chain(range(train + val), range(test))
        subsets = (SUBSETS[k] for k in files.subsets_N)
        _write(folder / FILES, ("sample", "subset", "file"), zip(samples, subsets, files.paths, strict=True))
        rows = [("left out", bad), ("used in part", partly), ("ignored", dict.fromkeys(files.ignored, "not an image"))]
        report = [(path, outcome, reason) for outcome, reasons in rows for path, reason in reasons.items()]
        _write(folder / REPORT, ("file", "outcome", "reason"), report)
        if partly or files.ignored:
            where = self._folder / REPORT
            info(f"{len(partly):,} files are used in part and {len(files.ignored):,} ignored: see {where}")

    def _images(self, old: ImageCache | None, white: Mapping[str, float]) -> Iterator[Decoded]:
        n = len(self.files.paths)
        old_row_N = np.full(n, -1)
        if old:
            _, indices, rows = np.intersect1d(self.files.keys_N, np.load(old.folder / _KEYS), return_indices=True)
            old_row_N[indices] = rows

        def image(index: int) -> Decoded:
            path = self.files.paths[index]
            if old and old_row_N[index] >= 0:
                return Decoded(old.images.images_NHWC[old_row_N[index]].numpy(), old.meta["partly"].get(path, ""))
            return self._decode(path, white)

        changed = f", {(old_row_N < 0).sum():,} of them new or changed" if old else ""
        info(f"{self.root}: decoding {n:,} images into {self.cache_dir}{changed}")
        Image.init()  # otherwise the first thread registers the formats while others look them up
        # Threads, since Pillow releases the GIL; each process would have to import the program first.
        with ThreadPoolExecutor() as pool, progress(self.root.name, n, " images") as bar:
            for start in range(0, n, BLOCK):
                block = range(start, min(n, start + BLOCK))
                yield from pool.map(image, block)
                bar.update(len(block))


def _content(root: Path, path: str) -> str:
    """A checksum of the middle of a file, empty if it cannot be read."""
    try:
        status = os.stat(f"{root}/{path}")
        if not stat.S_ISREG(status.st_mode):
            return ""
        with open(f"{root}/{path}", "rb") as file:
            file.seek(max(0, status.st_size - SAMPLED_BYTES) // 2)
            return blake2b(file.read(SAMPLED_BYTES), digest_size=8).hexdigest()
    except OSError:
        return ""


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    # Names need not be valid text; surrogateescape writes their bytes.
    with path.open("w", newline="", errors="surrogateescape") as table:
        csv.writer(table).writerows([header, *rows])
