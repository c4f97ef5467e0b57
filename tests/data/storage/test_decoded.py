"""Decoded pictures in a file: the same again, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from src.data.storage.decoded import load, save

IMAGES_NHWC = torch.arange(3 * 2 * 2 * 3, dtype=torch.uint8).view(3, 2, 2, 3)
LABELS_N = torch.tensor([7, 0, 255])
SHAPE_HWC = (2, 2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with three pictures, under the key `files`."""
    save(tmp_path / "below" / "a.u8", IMAGES_NHWC, LABELS_N, b"files")
    return tmp_path / "below" / "a.u8"


def test_it_has_a_byte_a_pixel_a_byte_a_label_and_a_checksum(path: Path) -> None:
    assert path.read_bytes()[:39] == bytes([*range(36), 7, 0, 255])
    assert path.stat().st_size == 36 + 3 + 32


def test_what_was_saved_is_loaded(path: Path) -> None:
    found = load(path, SHAPE_HWC, b"files")
    assert found is not None
    images_NHWC, labels_N = found
    assert torch.equal(images_NHWC, IMAGES_NHWC)
    assert torch.equal(labels_N, LABELS_N) and labels_N.dtype == torch.int64


def test_pictures_in_any_order_of_memory(tmp_path: Path) -> None:
    images_NCHW = IMAGES_NHWC.permute(0, 3, 1, 2)
    save(tmp_path / "a.u8", images_NCHW, LABELS_N, b"")
    found = load(tmp_path / "a.u8", (3, 2, 2), b"")
    assert found is not None and torch.equal(found[0], images_NCHW)


def test_another_key_is_another_thing(path: Path) -> None:
    assert load(path, SHAPE_HWC, b"other files") is None


@pytest.mark.parametrize("size", [0, 10, 32, 70])
def test_a_truncated_file_is_none(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    assert load(path, SHAPE_HWC, b"files") is None


@pytest.mark.parametrize("place", [0, 38, 39, 70])
def test_a_file_with_one_bit_turned_is_none(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert load(path, SHAPE_HWC, b"files") is None


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "a.u8", SHAPE_HWC, b"") is None


def test_what_is_loaded_stays_when_another_process_saves_anew(path: Path) -> None:
    found = load(path, SHAPE_HWC, b"files")
    save(path, IMAGES_NHWC + 1, LABELS_N, b"files")
    assert found is not None and torch.equal(found[0], IMAGES_NHWC)


def test_writing_to_what_was_loaded_does_not_reach_the_file(path: Path) -> None:
    found = load(path, SHAPE_HWC, b"files")
    assert found is not None
    found[0].zero_()
    again = load(path, SHAPE_HWC, b"files")
    assert again is not None and torch.equal(again[0], IMAGES_NHWC)


def test_a_save_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save(path, IMAGES_NHWC + 1, LABELS_N, b"files")
    assert list(path.parent.iterdir()) == [path]
    assert load(path, SHAPE_HWC, b"files") is not None
