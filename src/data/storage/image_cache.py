"""Decoded images in one file that is mapped into memory, not read: the processes of a machine share its pages.

A cache is a folder:

pixels.u8    the images, uint8 (N, H, W, C)
labels.npy   int64 (N,)
meta.json    H, W, C, the checksum, and what identifies the source of the images

Shapes: N images, B of them in a block, H rows, W columns, C channels.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from src.data.batch import ImageSet
from src.data.storage.disk import exclusive

# Up to this size the checksum is compared at each start, which takes 0.1 s for the 154 MB of CIFAR-10. Of a larger
# cache only the size is.
VERIFIED_BYTES = 1 << 28
PIXELS, LABELS, META = "pixels.u8", "labels.npy", "meta.json"


class ImageCache(NamedTuple):
    """An open cache; `meta` is the content of meta.json. Writing to the images does not change the file."""

    folder: Path
    images: ImageSet
    meta: dict[str, Any]


def load(folder: Path, **expected: Any) -> ImageCache | None:
    """Opens a cache; None if it is missing, damaged, or its meta.json differs from `expected`."""
    try:
        meta = json.loads((folder / META).read_text())
        if any(meta.get(key) != value for key, value in expected.items()):
            return None
        labels_N = torch.from_numpy(np.load(folder / LABELS))
        shape = torch.Size([len(labels_N), *meta["shape_HWC"]])
        if (folder / PIXELS).stat().st_size != shape.numel():
            return None
        pixels = torch.empty(0, dtype=torch.uint8)
        if shape.numel():
            # Not shared, since the file may be read-only.
            pixels = torch.from_file(str(folder / PIXELS), shared=False, size=shape.numel(), dtype=torch.uint8)
        images = ImageSet(pixels.view(shape), labels_N)
        if len(pixels) <= VERIFIED_BYTES and meta["sha256"] != images.sha256():
            return None
    except (OSError, EOFError, ValueError, KeyError, RuntimeError):
        return None
    return ImageCache(folder, images, meta)


def write(folder: Path, blocks: Iterable[ImageSet], meta: dict[str, Any]) -> None:
    """Writes a cache, one block of images at a time. `meta`, for meta.json, is read after the last block."""
    folder.mkdir()
    digest = hashlib.sha256()
    labels: list[Tensor] = []
    shape_HWC: list[int] = []
    with (folder / PIXELS).open("wb") as file:
        for images_BHWC, labels_B in blocks:
            pixels = images_BHWC.contiguous().numpy().data
            file.write(pixels)
            digest.update(pixels)
            labels.append(labels_B)
            shape_HWC = list(images_BHWC.shape[1:])
        # So that a power failure after the rename does not leave an incomplete file.
        file.flush()
        os.fsync(file.fileno())
    labels_N = torch.cat(labels)
    digest.update(labels_N.numpy().data)
    np.save(folder / LABELS, labels_N.numpy())
    content = {**meta, "shape_HWC": shape_HWC, "sha256": digest.hexdigest()}
    (folder / META).write_text(json.dumps(content, indent=1) + "\n")


def save(folder: Path, images: ImageSet, **meta: Any) -> None:
    """Writes a cache of images that are in memory, or replaces it, one process at a time. Raises UserError if it
    cannot be written."""
    with exclusive(folder) as part:
        if not load(folder, **meta):  # otherwise another process has written it
            write(part, [images], meta)
            shutil.rmtree(folder, ignore_errors=True)  # a process that has it open keeps it
            part.rename(folder)
