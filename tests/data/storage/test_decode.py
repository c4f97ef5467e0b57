from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from src.data.storage.decode import decode
from tests.data.storage.test_disk import unwritable

RED, BLUE = (255, 0, 0), (0, 0, 255)


def pixels(path: Path, size: int = 4, **kwargs) -> np.ndarray:
    decoded, note = decode(path, size, **kwargs)
    assert decoded is not None and note == ""
    assert decoded.shape == (size, size, 3) and decoded.dtype == np.uint8
    return decoded


def reason(path: Path, **kwargs) -> str:
    decoded, note = decode(path, 4, **kwargs)
    assert decoded is None
    return note


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
    white = {"16-bit PNG": 65535, "16-bit TIFF": 65535}
    assert (pixels(tmp_path / name, white=white) == expected).all()


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
    (tmp_path / "photo.HEIC").write_bytes(b"heic")
    os.mkfifo(tmp_path / "pipe")
    assert reason(tmp_path / "empty") == "empty"
    assert reason(tmp_path / "text") == "not a format that Pillow reads"
    assert "truncated" in reason(tmp_path / "cut")
    assert reason(tmp_path / "photo.HEIC") == "HEIC, which Pillow does not read; convert it to JPEG"
    assert reason(tmp_path / "pipe") == "not a regular file"
    (tmp_path / "folder").mkdir()
    assert reason(tmp_path / "folder") == "a folder"
    with unwritable(tmp_path / "folder", mode=0o000):
        assert reason(tmp_path / "folder") == "Permission denied"
    assert reason(tmp_path / "gone") == "No such file or directory"


def test_a_file_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A bit for each pixel, compressed: 120 MB from 15 kB."""
    Image.new("1", (11000, 11000)).save(tmp_path / "large.png")
    assert reason(tmp_path / "large.png", max_pixels=10**8) == (
        "its 11000 x 11000 pixels are more than max_pixels 100000000"
    )
    Image.new("1", (30, 20)).save(tmp_path / "small.png")
    assert reason(tmp_path / "small.png", max_pixels=599).startswith("its 30 x 20 pixels")
    assert (pixels(tmp_path / "small.png", max_pixels=600) == 0).all()


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif"])
def test_the_first_of_several_frames_is_used_and_noted(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, BLUE)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    decoded, note = decode(tmp_path / name, 4)
    assert decoded is not None and (decoded == RED).all()
    assert note == "the first of several frames"


@pytest.mark.parametrize("size", [(4000, 2), (1, 1), (2, 4000)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_extreme_shapes(tmp_path: Path, size: tuple[int, int], resize: Any) -> None:
    Image.new("RGB", size, RED).save(tmp_path / "a.png")
    assert (pixels(tmp_path / "a.png", size=8, resize=resize)[4, 4] == RED).all()


def test_gray_of_more_than_8_bits_is_scaled_by_its_white(tmp_path: Path) -> None:
    ramp_HW = np.tile(np.linspace(0, 1, 16), (16, 1))
    twelve = Image.fromarray((ramp_HW * 4095).astype(np.uint16))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[281] = 4095
    twelve.save(tmp_path / "tagged.tif", tiffinfo=tags)
    twelve.save(tmp_path / "a.tif")
    Image.fromarray(ramp_HW.astype(np.float32)).save(tmp_path / "float.tif")
    expected_W = (ramp_HW[0] * 255).round()
    for name, white in {"tagged.tif": {"16-bit TIFF": 9}, "a.tif": {"": 4095}, "float.tif": {"float TIFF": 1}}.items():
        decoded = pixels(tmp_path / name, size=16, white=white)
        np.testing.assert_allclose(decoded[3, :, 0], expected_W, atol=1)
    assert reason(tmp_path / "a.tif") == "its 16-bit TIFF pixels are of unknown range; give data.white"
    assert reason(tmp_path / "float.tif") == "its float TIFF pixels are of unknown range; give data.white"


def test_a_turned_image_of_16_bits_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values_HW = np.zeros((16, 16), np.uint16)
    values_HW[:, :8] = 1000
    Image.fromarray(values_HW).save(tmp_path / "a.png", exif=exif)
    assert (pixels(tmp_path / "a.png", size=16, white={"16-bit PNG": 1000})[:8] == 255).all()
