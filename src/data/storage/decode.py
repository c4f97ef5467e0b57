"""Decodes one image file to pixels.

Shapes: H rows, W columns, C = 3 channels.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from src.data.storage import depth

Resize = Literal["crop", "squash", "pad"]
MAX_PIXELS = 178_956_970  # of an image, as Pillow has it: a small file of more could fill the memory
_BILINEAR = Image.Resampling.BILINEAR  # antialiased in Pillow

Image.MAX_IMAGE_PIXELS = None  # `decode` has a limit of its own, which the user can set


class Decoded(NamedTuple):
    """The pixels of a file, uint8 (H, W, C), with a `note` on what of it they are, if not all; or None, and `note` is
    the reason."""

    pixels: NDArray[np.uint8] | None
    note: str = ""


def decode(
    path: str | Path,
    size: int | tuple[int, int],
    resize: Resize | None = "crop",
    white: Mapping[str, float] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Decodes the first frame of a file to RGB, upright by its EXIF orientation, transparent pixels on white.

    Args:
        path: of the file.
        size: H and W, or one number for both.
        resize: see ImageFolder. None leaves it to the caller: the pixels are those that are resized otherwise, of a
            large JPEG file at least twice the size.
        white: the value that becomes white in images of more than 8 bits that do not state it, by their `depth.kind`;
            "" is for all others.
        max_pixels: of the file.
    """
    height, width = (size, size) if isinstance(size, int) else size
    try:
        if not stat.S_ISREG(mode := os.stat(path).st_mode):  # opening a named pipe would wait forever
            return Decoded(None, _not_a_file(path, mode))
        with Image.open(path) as image:
            if image.width * image.height > max_pixels:
                return Decoded(None, f"its {image.width} x {image.height} pixels are more than max_pixels {max_pixels}")
            note = "the first of several frames" if getattr(image, "is_animated", False) else ""
            kind, values = depth.kind(image), {} if white is None else white
            white_value = (depth.stated_white(image) or values.get(kind) or values.get("")) if kind else None
            if kind and not white_value:
                return Decoded(None, f"its {kind} pixels are of unknown range; give data.white")
            # JPEG only: decodes at 1/2 to 1/8 of the size, at least twice it. 12 megapixels take 21 ms, not 246.
            image.draft(None, (2 * width, 2 * height))
            upright = ImageOps.exif_transpose(image)
            scaled = depth.scaled(upright, white_value) if white_value else upright
            return Decoded(np.asarray(_resized(_rgb(scaled), (width, height), resize)), note)
    except OSError as error:
        if isinstance(error, Image.UnidentifiedImageError):
            return Decoded(None, _unidentified(Path(path)))
        return Decoded(None, error.strerror or str(error))
    except Exception as error:  # on a damaged file Pillow's decoders raise exceptions of any type
        return Decoded(None, f"{error} ({type(error).__name__})")


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int], resize: Resize | None) -> Image.Image:
    if resize is None or image.size == size:
        return image
    (width, height), (columns, rows) = image.size, size
    left, top, right, bottom = 0.0, 0.0, width, height
    if resize == "crop":
        seen_width, seen_height = min(width, height * (columns / rows)), min(height, width / (columns / rows))
        left, top = (width - seen_width) * 0.5, (height - seen_height) * 0.5
        right, bottom = left + seen_width, top + seen_height
    elif resize == "pad":
        columns, rows = min(columns, round(width / height * rows)), min(rows, round(height / width * columns))
        if not columns or not rows:
            return Image.new(image.mode, size)
    # The columns first: Pillow 13 chooses by the shape of the image, and the rounding in between would depend on it.
    image = image.resize((columns, height), _BILINEAR, (left, 0, right, height))
    image = image.resize((columns, rows), _BILINEAR, (0, top, columns, bottom))
    if image.size == size:
        return image
    padded = Image.new(image.mode, size)
    padded.paste(image, (round((size[0] - columns) * 0.5), round((size[1] - rows) * 0.5)))
    return padded


def _not_a_file(path: str | Path, mode: int) -> str:
    """Raises OSError for a folder that cannot be read."""
    return "a folder" if stat.S_ISDIR(mode) and os.listdir(path) is not None else "not a regular file"


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "empty"
    if path.suffix.lower() in (".heic", ".heif"):
        return "HEIC, which Pillow does not read; convert it to JPEG"
    return "not a format that Pillow reads"
