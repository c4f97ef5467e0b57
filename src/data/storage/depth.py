"""Images of more than 8 bits per pixel, and of floats: which value becomes white.

A file of 16 bits may hold the 10, 12 or 14 bits of a camera, and seldom states it. What becomes white must be the same
in all images, so it is measured over many files of the same kind.

Shapes: H rows, W columns.
"""

import math
import os
import stat
from collections.abc import Sequence

import numpy as np
from PIL import Image

ESTIMATED = 100  # files that are measured
_FORMATS = (".tif", ".tiff", ".png")  # that may have more than 8 bits
_MAX_SAMPLE_VALUE = 281  # the tag of a TIFF file
_FULL_SCALES = (255, 1023, 4095, 16383, 65535, 2**31 - 1)  # of the depths that cameras have


def kind(image: Image.Image) -> str:
    """Which images of more than 8 bits this one belongs to, such as "16-bit TIFF"; empty for one of 8 bits. Files of
    one kind are taken to come from one device."""
    if image.mode == "F":
        return f"float {image.format}"
    # Older versions of Pillow read PNG files of 16 bits, the most there are, in the mode of 32.
    bits = 16 if ";16" in image.mode or image.format == "PNG" else 32
    return f"{bits}-bit {image.format}" if image.mode.startswith("I") else ""


def _estimated_white(path: str) -> tuple[str, float] | None:
    """The `kind` of a file of more than 8 bits that does not state its range, and the full scale of the smallest
    depth that holds its values: of 8, 10, 12, 14 or 16 bits, or of floats up to 1. None for all others."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with Image.open(path) as image:
            name = kind(image)
            if not name or stated_white(image):
                return None
            largest = float(np.asarray(image).max())
    except Exception:  # `decode` reports it
        return None
    scales = (1.0, *_FULL_SCALES) if image.mode == "F" else _FULL_SCALES
    return name, float(next((scale for scale in scales if largest <= scale), largest))


def stated_white(image: Image.Image) -> float | None:
    """The largest value as the file states it, in the tag MaxSampleValue of TIFF."""
    stated = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE)
    return float(stated[0] if isinstance(stated, tuple) else stated) if stated else None


def scaled(image: Image.Image, white: float) -> Image.Image:
    """A gray image of 8 bits in which the value `white` is 255."""
    values_HW = np.asarray(image).astype(np.float64) * (255 / white)
    return Image.fromarray(values_HW.clip(0, 255).round().astype(np.uint8))


def estimate(paths: Sequence[str]) -> dict[str, float]:
    """What becomes white, for each kind among some of the files: the largest of their `_estimated_white`."""
    deep = [path for path in paths if path.lower().endswith(_FORMATS)]
    largest: dict[str, float] = {}
    for path in deep[:: math.ceil(len(deep) / ESTIMATED) or 1]:
        if found := _estimated_white(path):
            largest[found[0]] = max(found[1], largest.get(found[0], 0.0))
    return largest
