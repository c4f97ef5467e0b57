"""One picture: from a file of any kind to pixels of one size.

Shapes: S rows and as many columns, C = 3 channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Resize = Literal["crop", "squash", "pad"]
_BILINEAR = Image.Resampling.BILINEAR  # Pillow's averages where it makes smaller


def decode(path: str | Path, size: int, resize: Resize = "crop") -> NDArray[np.uint8] | str:
    """Reads one file: its first picture, upright, in RGB, gray repeated and what is transparent on white.

    Args:
        path: a file of any format that Pillow reads.
        size: S, in pixels.
        resize: `crop` makes the shorter side fit and cuts the longer one about its middle, `squash` changes the
            proportions, `pad` makes the longer side fit and adds black.

    Returns:
        (S, S, C), or the reason why this file gives no picture.
    """
    try:
        with Image.open(path) as image:
            # Only JPEG heeds it: decoded at a half to an eighth of its size, but no smaller than twice what is
            # wanted, a photograph of 12 million pixels takes 21 ms instead of 246.
            image.draft(None, (2 * size, 2 * size))
            return np.asarray(_resized(_rgb(ImageOps.exif_transpose(image)), size, resize))
    except OSError as error:
        if isinstance(error, Image.UnidentifiedImageError):
            return "empty" if Path(path).stat().st_size == 0 else "no format that Pillow reads"
        return error.strerror or str(error)
    except Exception as error:  # Pillow's readers meet a damaged file with whatever it makes them trip over
        return f"{error} ({type(error).__name__})"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range")
    if image.mode.startswith("I"):  # 16 bits, which `convert` would cut off at 255
        return Image.fromarray((np.asarray(image) / 257).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _resized(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    square = (size, size)
    if image.size == square:
        return image
    if resize == "crop":
        return ImageOps.fit(image, square, _BILINEAR)
    if resize == "pad":
        return ImageOps.pad(image, square, _BILINEAR)
    return image.resize(square, _BILINEAR)
