"""Decoded images in one file that is mapped into memory, not read: the processes of a machine share its pages.

A cache is a folder:

pixels.u8    the images, uint8 (N, H, W, C)
labels.npy   int64 (N,)
meta.json    H, W, C, the checksum, and what identifies the source of the images

Shapes: N images, H rows, W columns, C channels.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

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
        if shape.numel() <= VERIFIED_BYTES and _sha256(folder) != meta["sha256"]:
            return None
        pixels = torch.empty(0, dtype=torch.uint8)
        if shape.numel():
            # Not shared, since the file may be read-only.
            pixels = torch.from_file(str(folder / PIXELS), shared=False, size=shape.numel(), dtype=torch.uint8)
        return ImageCache(folder, ImageSet(pixels.view(shape), labels_N), meta)
    except (OSError, EOFError, ValueError, KeyError, RuntimeError):
        return None


def complete(folder: Path, shape_HWC: Sequence[int], labels_N: NDArray[np.int64], **meta: Any) -> None:
    """Makes a folder that holds the pixels a cache. `meta` becomes part of meta.json."""
    with (folder / PIXELS).open("rb") as file:
        os.fsync(file.fileno())  # so that a power failure after the rename does not leave an incomplete file
    np.save(folder / LABELS, labels_N)
    content = {**meta, "shape_HWC": list(shape_HWC), "sha256": _sha256(folder)}
    (folder / META).write_text(json.dumps(content, indent=1) + "\n")


def save(folder: Path, images: ImageSet, **meta: Any) -> None:
    """Writes a cache of images that are in memory, or replaces it, one process at a time. Raises UserError if it
    cannot be written."""
    with exclusive(folder) as part:
        if not load(folder, **meta):  # otherwise another process has written it
            images.images_NHWC.numpy().tofile(part / PIXELS)
            complete(part, images.images_NHWC.shape[1:], images.labels_N.numpy(), **meta)
            shutil.rmtree(folder, ignore_errors=True)  # a process that has it open keeps it
            part.rename(folder)


def mean_and_std(histogram_C256: NDArray[Any]) -> dict[str, list[float]]:
    """Of each channel, in [0, 1], to 4 digits."""
    values = np.arange(256) / 255
    fraction_C256 = histogram_C256 / histogram_C256.sum(1, keepdims=True).clip(min=1)
    mean_C = fraction_C256 @ values
    std_C = np.sqrt((fraction_C256 * (values - mean_C[:, None]) ** 2).sum(1)).round(4)
    std_C[std_C == 0] = 1  # a constant channel is divided by 1
    return {"mean": mean_C.round(4).tolist(), "std": std_C.tolist()}


def _sha256(folder: Path) -> str:
    """Checksum of the images followed by the labels."""
    with (folder / PIXELS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(np.load(folder / LABELS).data)
    return digest.hexdigest()
