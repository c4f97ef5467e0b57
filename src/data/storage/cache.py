"""Decoded pictures of many files in one file, which is mapped into memory and not read into it.

Of a million pictures only those pages are in memory that were gathered lately, and the system takes them back when
it needs room; processes on one machine share them.

A cache is a folder:

pixels.u8    (N, S, S, C), one byte a number
index.npy    label and key of each
files.csv    which file each one was
meta.json    the rest; what it says of damaged files spares decoding everything again to name them

Shapes: N pictures, S rows and columns, C = 3 channels.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import MofNCompleteColumn
from torch import Tensor

from src.data.storage.decode import Resize, decode
from src.data.storage.disk import check_room, locked
from src.data.storage.folder_scan import PARTS, Listing
from src.data.storage.progress import progress, say

VERSION = 1  # of what is written; another one is another cache
CHANNELS = 3
# Pictures that are decoded and written at once: 16 MB of them, and enough to keep many threads busy.
BLOCK_BYTES, BLOCK_PICTURES = 1 << 24, 128
_PIXELS, _INDEX, _FILES, _META = "pixels.u8", "index.npy", "files.csv", "meta.json"


@dataclass(frozen=True)
class Cache:
    """A cache that is open.

    Attributes:
        folder: where it lies.
        images_NHWC: uint8, mapped; those of training first, then validation, then test.
        labels_N: int64.
        meta: fingerprint; counts of the parts; mean and std of the training pictures; files that give no
            picture, with the reason.
    """

    folder: Path
    images_NHWC: Tensor
    labels_N: Tensor
    meta: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What is made of each file.

    Attributes:
        root: the folder that paths are relative to.
        size: S.
        resize: see `decode`.
    """

    root: Path
    size: int
    resize: Resize

    def decode(self, path: str) -> np.ndarray | str:
        """Pixels, or the reason why there are none."""
        return decode(f"{self.root}/{path}", self.size, self.resize)

    def bytes_of(self, files: Listing) -> int:
        """What the pixels of so many files take."""
        return len(files.paths) * self.size**2 * CHANNELS

    def describe(self) -> dict[str, Any]:
        """What two caches must have in common for one to take pictures from the other."""
        return {"version": VERSION, "root": str(self.root), "size": self.size, "resize": self.resize}


def found(recipe: Recipe, files: Listing, cache_dir: Path) -> Cache | None:
    """The cache of these files, where it lies there already."""
    cache = _load(_place(recipe, files, cache_dir))
    return cache if cache and not _mended(recipe, cache) else None


def opened(recipe: Recipe, files: Listing, cache_dir: Path) -> Cache:
    """The cache of these files, made first where it does not lie there yet. One process makes it, others wait.

    An outdated one of the same folder gives what has not changed, and is removed.

    Raises:
        UserError: if there is no room for it, or its place cannot be written to.
    """
    if cache := found(recipe, files, cache_dir):  # before the lock, which would have to be written
        return cache
    target = _place(recipe, files, cache_dir)
    family = target.parent
    with locked(family):
        if not (cache := found(recipe, files, cache_dir)):  # else another process was quicker
            family.mkdir(exist_ok=True)
            for part in family.glob("*.part"):  # of a process that was killed
                shutil.rmtree(part)
            old = [other for path in family.iterdir() if (other := _load(path)) and _same(other, recipe)]
            part = target.with_name(target.name + ".part")
            try:
                _make(part, recipe, files, old[0] if old else None)
            except BaseException:  # a full disk, Ctrl-C
                shutil.rmtree(part, ignore_errors=True)
                raise
            for outdated in {target, *(other.folder for other in old)}:
                shutil.rmtree(outdated, ignore_errors=True)  # who has it open, keeps it until the end
            part.rename(target)
            cache = _load(target)
    assert cache is not None
    return cache


def _place(recipe: Recipe, files: Listing, cache_dir: Path) -> Path:
    # Without the root: a folder that was moved as a whole is the same.
    content = blake2b(f"{VERSION} {recipe.size} {recipe.resize}".encode(), digest_size=12)
    for array in (files.keys_N, files.parts_N, files.labels_N):
        content.update(array.data)
    return cache_dir / recipe.root.name / content.hexdigest()


def _load(folder: Path) -> Cache | None:
    """What lies there, if it is whole."""
    pixels = folder / _PIXELS
    try:
        meta = json.loads((folder / _META).read_text())
        labels_N = torch.from_numpy(np.load(folder / _INDEX)["label"].copy())
        shape = (len(labels_N), meta["size"], meta["size"], CHANNELS)
        if pixels.stat().st_size != np.prod(shape):
            return None
    except (OSError, EOFError, ValueError, KeyError):
        return None
    if not len(labels_N):
        return Cache(folder, torch.empty(shape, dtype=torch.uint8), labels_N, meta)
    # Not shared: the file may be one that this process must not write to.
    flat = torch.from_file(str(pixels), shared=False, size=int(np.prod(shape)), dtype=torch.uint8)
    return Cache(folder, flat.view(shape), labels_N, meta)


def _same(cache: Cache, recipe: Recipe) -> bool:
    wanted = recipe.describe()
    return {key: cache.meta.get(key) for key in wanted} == wanted


def _mended(recipe: Recipe, cache: Cache) -> bool:
    """Whether a file that gave no picture now gives one: a disk may have been away, a permission missing."""
    return any(not isinstance(recipe.decode(path), str) for path in cache.meta["bad"])


def _make(folder: Path, recipe: Recipe, files: Listing, old: Cache | None) -> None:
    """Decodes everything but what the old cache has, in as many threads as there are cores: Pillow lets other
    threads run while it decodes and resizes, and with processes each would have to load this program first."""
    n = len(files.paths)
    source_N = _rows_of(files, old)
    fresh = int((source_N < 0).sum())
    advice = "choose a smaller image_size, or another cache_dir"
    check_room(recipe.bytes_of(files), folder.parent, "of decoded pictures are to be written", advice)
    changed = f", {fresh:,} of which are new or changed" if old else ""
    say(f"{recipe.root}: {n:,} pictures{changed}, decoded once into {folder.parent}")

    def picture(number: int) -> np.ndarray | str:
        if old and source_N[number] >= 0:
            return old.images_NHWC[source_N[number]].numpy()
        return recipe.decode(files.paths[number])

    Image.init()  # by itself Pillow does so in the first thread that needs it, while others find half of its formats
    folder.mkdir()
    block = max(BLOCK_PICTURES, BLOCK_BYTES // (recipe.size**2 * CHANNELS))
    good_N = np.ones(n, bool)
    bad: dict[str, str] = {}
    moments = _Moments()
    with (
        (folder / _PIXELS).open("wb") as pixels,
        ThreadPoolExecutor() as pool,
        progress(recipe.root.name, n, MofNCompleteColumn(), line="{:,} of {:,} pictures".format) as report,
    ):
        for start in range(0, n, block):
            numbers = range(start, min(n, start + block))
            images: list[np.ndarray] = []
            for number, made in zip(numbers, pool.map(picture, numbers), strict=True):
                if isinstance(made, str):
                    good_N[number], bad[files.paths[number]] = False, made
                else:
                    images.append(made)
            if images:
                images_BHWC = np.stack(images)
                pixels.write(images_BHWC.data)
                moments.add(images_BHWC[files.parts_N[start : numbers.stop][good_N[start : numbers.stop]] == 0])
            report(numbers.stop)
        # Lest a power cut after the renaming leave half a file under the name of a whole one.
        pixels.flush()
        os.fsync(pixels.fileno())
    index_N = np.empty(good_N.sum(), [("label", np.int64), ("key", np.uint64)])
    index_N["label"], index_N["key"] = files.labels_N[good_N], files.keys_N[good_N]
    np.save(folder / _INDEX, index_N)
    _write_names(folder / _FILES, files, good_N)
    mean, std = moments.result()
    counts = np.bincount(files.parts_N[good_N], minlength=len(PARTS)).tolist()
    meta = {"counts": dict(zip(PARTS, counts, strict=True)), "mean": mean, "std": std, "bad": bad}
    meta = {**recipe.describe(), "fingerprint": folder.stem, **meta}
    (folder / _META).write_text(json.dumps(meta, indent=1) + "\n")


def _rows_of(files: Listing, old: Cache | None) -> np.ndarray:
    """Where the old cache has each picture; -1 for those that it has not."""
    source_N = np.full(len(files.paths), -1)
    if old:
        keys_N = np.load(old.folder / _INDEX)["key"]
        _, here, there = np.intersect1d(files.keys_N, keys_N, return_indices=True)
        source_N[here] = there
    return source_N


def _write_names(path: Path, files: Listing, good_N: np.ndarray) -> None:
    """Sample, part and file: samples count as in training and its validation, and anew in the test."""
    # Names need not be text; surrogateescape gives back the bytes that they are.
    with path.open("w", newline="", errors="surrogateescape") as table:
        writer = csv.writer(table)
        writer.writerow(["sample", "part", "file"])
        samples = {True: 0, False: 0}
        for number in good_N.nonzero()[0].tolist():
            part = PARTS[files.parts_N[number]]
            writer.writerow([samples[part == "test"], part, files.paths[number]])
            samples[part == "test"] += 1


class _Moments:
    """Mean and deviation of each channel over all pixels, exact, from how often each of the 256 values occurs."""

    def __init__(self) -> None:
        self.counts = np.zeros((CHANNELS, 256))

    def add(self, images_BHWC: np.ndarray) -> None:
        for image_HWC in images_BHWC:  # one by one, as counting takes eight bytes for each of theirs
            for channel, counts in enumerate(self.counts):
                counts += np.bincount(image_HWC[..., channel].ravel(), minlength=256)

    def result(self) -> tuple[list[float], list[float]]:
        """In [0, 1], to four digits."""
        values = np.arange(256) / 255
        share = self.counts / self.counts.sum(1, keepdims=True).clip(min=1)
        mean_C = share @ values
        std_C = np.sqrt((share * (values - mean_C[:, None]) ** 2).sum(1)).round(4)
        # A channel that is the same everywhere has nothing to be divided by.
        return mean_C.round(4).tolist(), np.where(std_C == 0, 1, std_C).tolist()
