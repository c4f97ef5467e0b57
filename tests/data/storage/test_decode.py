from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.storage.decode import decode

RED, BLUE = (255, 0, 0), (0, 0, 255)


def pixels(path: Path, size: int = 4, **kwargs) -> np.ndarray:
    decoded = decode(path, size, **kwargs)
    assert not isinstance(decoded, str), decoded
    assert decoded.shape == (size, size, 3) and decoded.dtype == np.uint8
    return decoded


def wide(path: Path) -> Path:
    """12 x 4 pixels: four columns of red, four of blue, four of red."""
    image = Image.new("RGB", (12, 4), RED)
    image.paste(BLUE, (4, 0, 8, 4))
    image.save(path)
    return path


def test_crop_keeps_the_center(tmp_path: Path) -> None:
    assert (pixels(wide(tmp_path / "a.png")) == BLUE).all()


def test_squash_keeps_everything(tmp_path: Path) -> None:
    squashed = pixels(wide(tmp_path / "a.png"), size=12, resize="squash")
    assert (squashed[:, 1] == RED).all() and (squashed[:, 6] == BLUE).all() and (squashed[:, -2] == RED).all()


def test_pad_adds_black(tmp_path: Path) -> None:
    padded = pixels(wide(tmp_path / "a.png"), size=12, resize="pad")
    assert (padded[[0, 3, 8, 11]] == 0).all() and (padded[4:8, 5:7] == BLUE).all()


def test_image_of_the_right_size_keeps_its_pixels(tmp_path: Path) -> None:
    original = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(original).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png") == original).all()


@pytest.mark.parametrize(
    ("mode", "color", "name", "expected"),
    [
        ("L", 100, "a.png", (100, 100, 100)),
        ("1", 1, "a.png", (255, 255, 255)),
        ("RGBA", (0, 0, 255, 255), "a.png", BLUE),
        ("RGBA", (0, 0, 255, 0), "a.png", (255, 255, 255)),
        ("LA", (0, 0), "a.png", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "a.tif", RED),
        ("I;16", 257 * 100, "a.png", (100, 100, 100)),
        ("I;16", 65535, "a.tif", (255, 255, 255)),
        ("RGB", RED, "no_extension", RED),
        ("RGB", RED, "a.gif", RED),
        ("RGB", RED, "a.webp", RED),
        ("RGB", RED, "a.bmp", RED),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, color, name: str, expected) -> None:
    Image.new(mode, (8, 8), color).save(tmp_path / name, format=None if "." in name else "png", lossless=True)
    assert (pixels(tmp_path / name) == expected).all()


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=b"\xff\x00")
    assert (pixels(tmp_path / "opaque.png") == RED).all()
    assert (pixels(tmp_path / "clear.png") == 255).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # upright after a rotation by 90 degrees clockwise: the left side becomes the top
    image = Image.new("RGB", (16, 16), RED)
    image.paste(BLUE, (0, 0, 8, 16))
    image.save(tmp_path / "a.png", exif=exif)
    upright = pixels(tmp_path / "a.png", size=16)
    assert (upright[:8] == BLUE).all() and (upright[8:] == RED).all()


def test_jpeg_decoded_at_a_fraction_of_its_size_looks_the_same(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[:, None, None], (512, 512, 3)).copy())
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    jpeg, png = pixels(tmp_path / "a.jpg", size=16), pixels(tmp_path / "a.png", size=16)
    assert np.abs(jpeg.astype(int) - png).max() <= 2


def test_reason_for_a_file_that_cannot_be_decoded(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "intact.png")
    content = (tmp_path / "intact.png").read_bytes()
    for name, bytes_ in {"empty": b"", "text": b"hello", "cut": content[: len(content) // 2]}.items():
        (tmp_path / name).write_bytes(bytes_)
    Image.new("F", (4, 4)).save(tmp_path / "floats.tif")
    assert decode(tmp_path / "empty", 4) == "empty"
    assert decode(tmp_path / "text", 4) == "not a format that Pillow reads"
    assert "truncated" in str(decode(tmp_path / "cut", 4))
    assert "floats" in str(decode(tmp_path / "floats.tif", 4))
    assert decode(tmp_path / "gone", 4) == "No such file or directory"
