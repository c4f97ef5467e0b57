"""The memory-mapped cache: it returns what was saved, or None."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from src.data.batch import ImageSet
from src.data.storage import image_cache
from src.data.storage.image_cache import load, save
from src.errors import UserError
from tests.data.storage.test_disk import unwritable

IMAGES = ImageSet(torch.arange(3 * 2 * 2 * 3, dtype=torch.uint8).view(3, 2, 2, 3), torch.tensor([7, 0, 255]))
OTHER = ImageSet(IMAGES.images_NHWC + 1, IMAGES.labels_N)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache with three images."""
    save(tmp_path / "cache" / "train", IMAGES, files="a")
    return tmp_path / "cache" / "train"


def assert_loads(folder: Path, images: ImageSet) -> None:
    cache = load(folder)
    assert cache is not None
    assert torch.equal(cache.images.images_NHWC, images.images_NHWC)
    assert torch.equal(cache.images.labels_N, images.labels_N) and cache.images.labels_N.dtype == torch.int64


def test_saved_images_are_loaded(folder: Path) -> None:
    assert_loads(folder, IMAGES)


def test_format(folder: Path) -> None:
    assert (folder / "pixels.u8").read_bytes() == bytes(range(36))
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["files"], meta["shape_HWC"]) == ("a", [2, 2, 3])
    assert [path.name for path in folder.parent.iterdir()] == ["train"]


def test_memory_format_of_the_images_does_not_matter(tmp_path: Path) -> None:
    transposed = ImageSet(IMAGES.images_NHWC.permute(0, 3, 1, 2), IMAGES.labels_N)
    save(tmp_path / "train", transposed)
    assert_loads(tmp_path / "train", transposed)


def test_cache_of_other_files_is_not_loaded(folder: Path) -> None:
    assert load(folder, files="a") is not None
    assert load(folder, files="b") is None
    assert load(folder, root="a") is None


@pytest.mark.parametrize("name", ["pixels.u8", "labels.npy", "meta.json"])
def test_incomplete_cache_is_not_loaded(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for size in (0, 10, len(content) - 3):
        (folder / name).write_bytes(content[:size])
        assert load(folder) is None
    (folder / name).unlink()
    assert load(folder) is None


@pytest.mark.parametrize(("name", "position"), [("pixels.u8", 0), ("pixels.u8", 35), ("labels.npy", -8)])
def test_cache_with_a_flipped_bit_is_not_loaded(
    folder: Path, name: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((folder / name).read_bytes())
    content[position] ^= 1
    (folder / name).write_bytes(content)
    assert load(folder) is None
    monkeypatch.setattr(image_cache, "VERIFIED_BYTES", 35)  # of a large cache only the size is compared
    assert load(folder) is not None


def test_open_cache_stays_when_another_process_replaces_it(folder: Path) -> None:
    cache = load(folder)
    save(folder, OTHER, files="b")
    assert_loads(folder, OTHER)
    assert cache is not None and torch.equal(cache.images.images_NHWC, IMAGES.images_NHWC)


def test_cache_that_another_process_has_written_is_not_replaced(folder: Path) -> None:
    save(folder, OTHER, files="a")
    assert_loads(folder, IMAGES)


def test_writing_to_the_images_does_not_change_the_file(folder: Path) -> None:
    cache = load(folder)
    assert cache is not None
    cache.images.images_NHWC.zero_()
    assert_loads(folder, IMAGES)


def test_read_only_cache_is_loaded(folder: Path) -> None:
    with unwritable(folder, folder.parent):
        assert_loads(folder, IMAGES)
        with pytest.raises(UserError, match="Permission denied"):
            save(folder, OTHER, files="b")


def test_failed_save_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space"):
        save(folder, OTHER, files="b")
    assert list(folder.parent.iterdir()) == [folder]
    assert_loads(folder, IMAGES)
