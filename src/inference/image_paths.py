"""The image files that paths name: one after another, so that a million of them need no memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from src.data.storage.folder_scan import may_be_image


def image_paths(places: Iterable[str]) -> Iterator[str]:
    """Files as they are, what a glob pattern matches (`**` at any depth), and of folders all files at any depth except
    hidden ones and those whose suffix is not that of an image. Folders and matches are sorted. A place that does not
    exist is among them: decoding reports it."""
    for place in places:
        is_pattern = not os.path.lexists(place) and any(character in place for character in "*?[")
        for path in (is_pattern and sorted(glob.iglob(place, recursive=True))) or [place]:
            yield from _below(path) if os.path.isdir(path) else [path]


def listed(file: BinaryIO) -> Iterator[str]:
    """The lines of a list of paths, which need not be UTF-8."""
    return (os.fsdecode(line) for raw in file if (line := raw.rstrip(b"\r\n")))


def _below(folder: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder that contains it
        return
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        yield folder  # decoding reports it
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _below(path, (*above, here))
        elif may_be_image(name):
            yield path
