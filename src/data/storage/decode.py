"""Decodes one image file to pixels.

Shapes: S rows and columns, C = 3 channels.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Resize = Literal["crop", "squash", "pad"]
_BILINEAR = Image.Resampling.BILINEAR  # antialiased in Pillow


def decode(path: str | Path, size: int, resize: Resize = "crop") -> NDArray[np.uint8] | str:
    """Decodes the first frame of a file to RGB, upright by its EXIF orientation, transparent pixels on white.

    Returns uint8 (S, S, C), or the reason why the file cannot be decoded. For `resize` see ImageFolder.
    """
    try:
        with Image.open(path) as image:
            # JPEG only: decodes at 1/2 to 1/8 of the size, at least 2 S. A 12-megapixel photo takes 21 ms, not 246.
            image.draft(None, (2 * size, 2 * size))
            return np.asarray(_resized(_rgb(ImageOps.exif_transpose(image)), size, resize))
    except OSError as error:
        if isinstance(error, Image.UnidentifiedImageError):
            return "empty" if Path(path).stat().st_size == 0 else "not a format that Pillow reads"
        return error.strerror or str(error)
    except Exception as error:  # on a damaged file Pillow's decoders raise exceptions of any type
        return f"{error} ({type(error).__name__})"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range")
    if image.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
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
