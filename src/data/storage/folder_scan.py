"""Lists the subsets, classes and files of a folder of images.

Shapes: N files.
"""

from __future__ import annotations

import mimetypes
import os
import re
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from src.data.batch import class_counts
from src.data.storage.label_file import Row, read_labels
from src.errors import UserError, shortened

SUBSETS = ("train", "val", "test")
# The names of folders of subsets, in any case.
_NAMES = {
    **dict.fromkeys(("train", "training", "train_set", "training_set", "seg_train"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set", "validation_set", "seg_val"), "val"),
    **dict.fromkeys(("test", "testing", "test_set", "seg_test"), "test"),
}
_LIKE_A_SUBSET = re.compile(r"(?:^|[^a-z])(?:train|val|valid|validation|test)(?:ing)?(?:$|[^a-z])", re.IGNORECASE)
_NOT_IMAGES = {"Thumbs.db", "desktop.ini"}  # written by file browsers
_TYPES = mimetypes.MimeTypes()  # without the files of the system, which differ between machines
CACHE_TAG = "CACHEDIR.TAG"  # a folder that has this file is a cache (bford.info/cachedir), so it holds no images


class Layout(NamedTuple):
    """How a folder of images is organized."""

    root: Path
    folders: dict[str, Path]  # of each subset; only `train`, the root itself, if it is not divided
    classes: tuple[str, ...]  # sorted; where an image can have several, in the order of the columns
    rows: tuple[Row, ...] = ()  # of a file with labels, if they come from one
    multi_label: bool = False  # whether an image can have several classes

    @property
    def is_divided(self) -> bool:
        return any(row.subset for row in self.rows) or self.folders["train"] != self.root


class Listing(NamedTuple):
    """The files of a dataset: training, validation, test; within a subset by class and name."""

    paths: list[str]  # relative to the root
    subsets_N: NDArray[np.int8]  # positions in SUBSETS
    labels_N: NDArray[np.int64]  # positions in the classes; (N, K) of 0 and 1 where an image can have several of them
    keys_N: NDArray[np.uint64]  # hashes of path, size and modification time
    ids_N: NDArray[np.uint64]  # hashes of the path, which decide what is for testing and for validation
    ignored: tuple[str, ...] = ()  # files whose suffix is that of something other than an image

    def take(self, indices: NDArray[np.int64]) -> Listing:
        """Some of the files, in this order."""
        paths = [self.paths[index] for index in indices]
        subsets_N, labels_N, keys_N, ids_N = self.subsets_N, self.labels_N, self.keys_N, self.ids_N
        rows = (subsets_N[indices], labels_N[indices], keys_N[indices], ids_N[indices])
        return Listing(paths, *rows, self.ignored)


def layout_of_labels(root: Path, file: Path) -> Layout:
    """The classes and files that a CSV file with labels names."""
    classes, rows, multi_label = read_labels(file)
    subsets = {row.subset for row in rows} - {""} or {"train"}
    folders = {subset: root for subset in SUBSETS if subset in subsets}
    if "train" not in folders or len(classes) < 2:
        raise UserError(f"data.labels {file} has {len(classes)} classes, and rows of {', '.join(sorted(subsets))}")
    return Layout(root, folders, classes, tuple(rows), multi_label)


def read_layout(root: Path, least: int = 2) -> Layout:
    """Reads `root/CLASS/...`, or `root/train/CLASS/...` with `val` (also `valid`, `validation`) and `test`, and other
    spellings of these. Raises UserError if it is neither, or the subsets do not have the same classes."""
    folders = _subsets(root)
    classes = _folders(folders["train"])
    if len(classes) < least:
        raise UserError(
            f"data_dir {root} must hold one folder per class, at least {least}, or train/ with these; found "
            f"{shortened(classes) or 'none'} in {folders['train']}"
        )
    if len(folders) == 1 and all(_LIKE_A_SUBSET.search(name) for name in classes):
        raise UserError(
            f"{folders['train']} has {shortened(classes)}, which look like subsets and not like classes. Name the "
            "folders of subsets train, val and test"
        )
    if wrong := [name for name in classes if name != os.fsencode(name).decode(errors="replace")]:
        raise UserError(
            f"{folders['train']} has folders whose names are not UTF-8: {shortened([ascii(name) for name in wrong])}. "
            "Rename them, since a folder's name is the name of its class"
        )
    for subset, folder in folders.items():
        here = _folders(folder)
        if here != classes:
            missing, unknown = (sorted(set(a) - set(b)) for a, b in ((classes, here), (here, classes)))
            raise UserError(
                f"{folder} must have the same classes as {folders['train']}; missing: {shortened(missing) or 'none'}, "
                f"unknown: {shortened(unknown) or 'none'}. If {subset} has no images of a class, make an empty folder"
            )
    return Layout(root, folders, tuple(classes))


def _subsets(root: Path) -> dict[str, Path]:
    names = _folders(root)
    subsets = {name: _NAMES[name.lower()] for name in names if name.lower() in _NAMES}
    # Not by the name alone: a dataset of vehicles may have a class called train.
    has_only_subsets = 0 < len(names) == len(subsets)
    if not has_only_subsets and not any(
        subset == "train" and _folders(root / name) for name, subset in subsets.items()
    ):
        return {"train": root}
    # Some archives have seg_train/seg_train/CLASS.
    folders = {
        subset: root / name / name if _folders(root / name) == [name] else root / name
        for name, subset in subsets.items()
    }
    if "train" not in folders or len(folders) < len(names):
        raise UserError(
            f"data_dir {root} has {shortened(names)}; it must have train, and next to it only val (or valid, or "
            "validation) and test. Put the training images into train, and move other folders away"
        )
    return folders


def list_files(layout: Layout, test_fraction: float) -> Listing:
    """Lists all files except hidden ones, at any depth below a class. Raises UserError if a folder cannot be read, a
    class has no training file, or `test_fraction` gives no test files.

    If the root is not divided into subsets, `test_fraction` of the files becomes the test set. Whether a file belongs
    to it depends on its path alone, so added or removed files do not move others.
    """
    is_divided = layout.is_divided
    paths: list[str] = []
    ignored: list[str] = []
    subsets, labels, keys, ids = array("b"), array("q"), array("Q"), array("Q")
    for subset, label, path, identity in _labeled(layout) if layout.rows else _scanned(layout):
        if not layout.rows and not may_be_image(path):
            ignored.append(path)
            continue
        ids.append(_hash(os.fsencode(identity)))
        is_test = not is_divided and ids[-1] / 2**64 < test_fraction
        paths.append(path)
        subsets.append(SUBSETS.index("test" if is_test else subset))
        labels.extend(label)
        keys.append(_key(layout.root, path))
    files = Listing(
        paths,
        np.array(subsets, np.int8),
        np.array(labels, np.int64).reshape((len(paths), -1) if layout.multi_label else -1),
        np.array(keys, np.uint64),
        np.array(ids, np.uint64),
        tuple(ignored),
    )
    if test_fraction == 1 and not is_divided:  # to be evaluated only
        return files
    counts_K = class_counts(torch.from_numpy(files.labels_N[files.subsets_N == 0]), len(layout.classes))
    if empty := [name for name, count in zip(layout.classes, counts_K, strict=True) if not count]:
        raise UserError(
            f"{layout.folders['train']} has no training files in {shortened(empty)}"
            f"{'' if is_divided else f' with test_fraction {test_fraction}'}. Add images, or remove the folder"
        )
    if not is_divided and test_fraction and not (files.subsets_N == SUBSETS.index("test")).any():
        raise UserError(
            f"test_fraction {test_fraction} of the {len(paths)} files in {layout.root} gives no test images, as the "
            "hash of its path decides about each. Use a larger one, or 0 for no test"
        )
    return files.take(files.subsets_N.argsort(kind="stable"))


def may_be_image(path: str) -> bool:
    """Whether a file may be an image by its name: unless its suffix is that of something else."""
    is_image = (_TYPES.guess_type(path.lower())[0] or "image").startswith("image")
    return is_image and os.path.basename(path) not in _NOT_IMAGES


def _scanned(layout: Layout) -> Iterator[tuple[str, tuple[int, ...], str, str]]:
    """Subset, label and path of each file, and what decides about its subset: the path."""
    prefix = os.path.join(layout.root, "")
    for subset, folder in layout.folders.items():
        for label, class_name in enumerate(layout.classes):
            for entry in _files(str(folder / class_name)):
                path = entry.path.removeprefix(prefix)
                yield subset, (label,), path, path


def _labeled(layout: Layout) -> Iterator[tuple[str, tuple[int, ...], str, str]]:
    """The same of the rows of a file with labels: the group decides."""
    labels = {name: label for label, name in enumerate(layout.classes)}
    for row in layout.rows:
        label = (labels[row.label],) if isinstance(row.label, str) else row.label
        yield row.subset or "train", label, row.path, row.group


def _key(root: Path, path: str) -> int:
    """A hash of path, size and modification time. Decoding reports a file that is missing, as of a broken link."""
    place = f"{root}/{path}"
    try:
        status = os.stat(place)
    except OSError:
        return _hash(os.fsencode(path))
    return _hash(b"%s\0%d\0%d" % (os.fsencode(path), status.st_size, status.st_mtime_ns))


def _files(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[os.DirEntry[str]]:
    entries, status = _entries(folder), os.stat(folder)
    here = (status.st_dev, status.st_ino)
    for entry in entries if here not in above else ():  # where it is, this is a link to a folder that contains it
        if entry.is_dir():
            yield from _files(entry.path, (*above, here))
        elif entry.name not in _NOT_IMAGES:
            yield entry


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(str(folder)) if entry.is_dir()]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") and not _is_cache(entry)]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {error.strerror}. data_dir must be a folder that holds one folder of images "
            "per class"
        ) from error
    return sorted(visible, key=lambda entry: entry.name)


def _is_cache(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and os.path.exists(f"{entry.path}/{CACHE_TAG}")


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
