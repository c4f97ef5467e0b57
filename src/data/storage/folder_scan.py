"""What lies in a folder of pictures: its parts, its classes, its files.

Shapes: N files.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from src.errors import UserError

PARTS = ("train", "val", "test")
_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_NO_PICTURES = {"Thumbs.db", "desktop.ini"}  # of file browsers; their other ones begin with a dot


class Layout(NamedTuple):
    """Where the pictures lie.

    Attributes:
        folders: of each part, the folder whose folders are the classes; `train` is the root itself where the
            root has no parts.
        classes: sorted by name, as their labels count.
    """

    folders: dict[str, Path]
    classes: tuple[str, ...]


class Listing(NamedTuple):
    """The files, those of training first, then validation, then test; within a part by class and name.

    Attributes:
        paths: relative to the root.
        parts_N: which of PARTS.
        labels_N: which class.
        keys_N: a number that stands for path, size and time of change.
    """

    paths: list[str]
    parts_N: NDArray[np.int8]
    labels_N: NDArray[np.int64]
    keys_N: NDArray[np.uint64]


def layout(root: Path) -> Layout:
    """Reads `root/CLASS/...`, or `root/train/CLASS/...` with `val` (also `valid`, `validation`) and `test`.

    Raises:
        UserError: if it is neither, or the parts do not have the same classes.
    """
    names = _folders(root)
    folders = {"train": root}
    # Not by the name alone: a set of vehicles may have a class called train.
    if (names and set(names) <= set(_NAMES)) or ("train" in names and _folders(root / "train")):
        if strange := [name for name in names if name not in _NAMES]:
            raise UserError(
                f"data_dir {root} has train, with folders in it, and beside it {_some(strange)}. Beside train there "
                "may be val and test; move the others away"
            )
        folders = {_NAMES[name]: root / name for name in names}
        if "train" not in folders:
            raise UserError(f"data_dir {root} has {_some(names)} and no train. Put the pictures to train on there")
        if len(folders) < len(names):
            raise UserError(f"data_dir {root} has more than one folder for validation: {_some(names)}. Keep one")
    classes = _folders(folders["train"])
    if len(classes) < 2:
        found = f"only one, {classes[0]}" if classes else "none"
        raise UserError(
            f"data_dir {root} must hold a folder for each class, or train/ with these; of classes there "
            f"{'is' if classes else 'are'} {found} in {folders['train']}"
        )
    for part, folder in folders.items():
        here = _folders(folder)
        if unknown := sorted(set(here) - set(classes)):
            raise UserError(
                f"{folder} has {_some(unknown)}, which {folders['train']} has not: the classes are those of the "
                f"training pictures. Rename or remove {'them' if len(unknown) > 1 else 'it'}"
            )
        if missing := sorted(set(classes) - set(here)):
            raise UserError(
                f"{folder} lacks {_some(missing)}, which {folders['train']} has. If there are no such pictures in "
                f"{part}, make the folder and leave it empty"
            )
    return Layout(folders, tuple(classes))


def listing(root: Path, where: Layout, test_fraction: float) -> Listing:
    """Lists all files but hidden ones, at any depth below a class.

    Args:
        root: what the paths are relative to.
        where: of that root.
        test_fraction: share that becomes the test set where the root has no parts. Whether a picture belongs to
            it depends on its path alone, so that none changes sides when others come or go.

    Raises:
        UserError: if a folder cannot be read, or a class has no file to train on.
    """
    has_parts = where.folders["train"] != root
    paths: list[str] = []
    parts, labels, keys = array("b"), array("q"), array("Q")
    for part, name in enumerate(PARTS):
        if name not in where.folders:
            continue
        for label, kind in enumerate(where.classes):
            folder = where.folders[name] / kind
            for path, size, changed_ns in _files(str(folder), folder.relative_to(root).as_posix()):
                encoded = os.fsencode(path)
                paths.append(path)
                parts.append(part if has_parts or _share(encoded) >= test_fraction else PARTS.index("test"))
                labels.append(label)
                keys.append(_number(b"%s\0%d\0%d" % (encoded, size, changed_ns)))
    parts_N, labels_N = np.array(parts, np.int8), np.array(labels, np.int64)
    counts_K = np.bincount(labels_N[parts_N == 0], minlength=len(where.classes))
    if empty := [name for name, count in zip(where.classes, counts_K, strict=True) if not count]:
        cut = "" if has_parts or not test_fraction else f" after test_fraction {test_fraction} was cut off"
        raise UserError(
            f"{where.folders['train']} has no files for training in {_some(empty)}{cut}. Put pictures there, or "
            "remove the folder"
        )
    order_N = parts_N.argsort(kind="stable")
    if not has_parts:
        paths = [paths[number] for number in order_N]
    return Listing(paths, parts_N[order_N], labels_N[order_N], np.array(keys, np.uint64)[order_N])


def _files(folder: str, relative: str) -> Iterator[tuple[str, int, int]]:
    """Path, size and time of change of each file, in the order of their names."""
    for entry in _entries(folder):
        path = f"{relative}/{entry.name}"
        if entry.is_dir():
            yield from _files(entry.path, path)
        elif entry.name not in _NO_PICTURES:
            try:
                status = entry.stat()
            except OSError:  # a link to nowhere: decoding will say so
                status = entry.stat(follow_symlinks=False)
            yield path, status.st_size, status.st_mtime_ns


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(str(folder)) if entry.is_dir()]


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {error.strerror}. data_dir must be a folder that holds a folder of pictures "
            "for each class"
        ) from error
    return sorted(seen, key=lambda entry: entry.name)


def _number(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def _share(path: bytes) -> float:
    return _number(path) / 2**64


def _some(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
