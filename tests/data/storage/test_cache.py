from __future__ import annotations

import csv
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.storage import cache as module
from src.data.storage.cache import Cache, Recipe, opened
from src.data.storage.folder_scan import layout, listing
from src.errors import UserError
from tests.data.storage.test_disk import unwritable

Reads = list[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve pictures of 4 x 4 pixels, a gray each: 10, 20, ... as their names say."""
    for number in range(12):
        paint(tmp_path / "pictures" / "ab"[number % 2] / f"{number + 1:02}0.png", 10 * (number + 1))
    return tmp_path / "pictures"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The files that were decoded, by name."""
    seen: Reads = []
    decode = module.decode

    def noting(path: str, *arguments):
        seen.append(Path(path).name)
        return decode(path, *arguments)

    monkeypatch.setattr(module, "decode", noting)
    return seen


def paint(path: Path, gray: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), gray).save(path)


def open_(root: Path, size: int = 4, test_fraction: float = 0.0, cache_dir: Path | None = None) -> Cache:
    files = listing(root, layout(root), test_fraction)
    return opened(Recipe(root, size, "crop"), files, cache_dir or root.parent / "cache")


def grays(cache: Cache) -> list[int]:
    """One number a picture, which has to be that of all its pixels."""
    flat = cache.images_NHWC.flatten(1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


def test_holds_what_the_files_hold(root: Path) -> None:
    cache = open_(root)
    assert cache.images_NHWC.shape == (12, 4, 4, 3) and cache.images_NHWC.dtype == torch.uint8
    assert grays(cache) == [10, 30, 50, 70, 90, 110, 20, 40, 60, 80, 100, 120]
    assert cache.labels_N.tolist() == [0] * 6 + [1] * 6
    assert cache.meta["counts"] == {"train": 12, "val": 0, "test": 0}
    rows = list(csv.DictReader((cache.folder / "files.csv").read_text().splitlines()))
    assert rows[7] == {"sample": "7", "part": "train", "file": "b/040.png"}


def test_mean_and_deviation_are_those_of_the_training_pictures(tmp_path: Path) -> None:
    for part, gray in {"train": 100, "val": 7, "test": 9}.items():
        for kind, more in {"a": -10, "b": 10}.items():
            paint(tmp_path / "p" / part / kind / "1.png", gray + more)
    meta = open_(tmp_path / "p").meta
    assert meta["mean"] == [round(100 / 255, 4)] * 3 and meta["std"] == [round(10 / 255, 4)] * 3


def test_pictures_that_are_all_the_same_have_a_deviation_to_divide_by(tmp_path: Path) -> None:
    paint(tmp_path / "p/a/1.png", 5)
    paint(tmp_path / "p/b/1.png", 5)
    assert open_(tmp_path / "p").meta["std"] == [1.0] * 3


def test_is_made_once(root: Path, reads: Reads) -> None:
    first = open_(root).folder
    assert len(reads) == 12
    assert open_(root).folder == first and len(reads) == 12


def test_a_folder_that_was_moved_is_the_same(root: Path, reads: Reads) -> None:
    first = open_(root)
    (root.parent / "elsewhere").mkdir()
    moved = root.rename(root.parent / "elsewhere" / root.name)
    assert open_(moved, cache_dir=root.parent / "cache").folder == first.folder and len(reads) == 12


def test_only_what_changed_is_decoded_again_and_the_old_cache_goes(root: Path, reads: Reads) -> None:
    before = open_(root)
    reads.clear()
    paint(root / "a" / "010.png", 11)
    os.utime(root / "a" / "010.png", ns=(0, 1))
    paint(root / "b" / "130.png", 130)
    (root / "a" / "030.png").unlink()
    (root / "b" / "020.png").rename(root / "a" / "020.png")
    after = open_(root)
    assert sorted(reads) == ["010.png", "020.png", "130.png"]
    assert grays(after) == [11, 20, 50, 70, 90, 110, 40, 60, 80, 100, 120, 130]
    assert after.labels_N.tolist() == [0] * 6 + [1] * 6
    assert [path.name for path in after.folder.parent.iterdir()] == [after.folder.name]
    assert grays(before)[:3] == [10, 30, 50]  # for who still has it open


def test_another_size_is_beside(root: Path, reads: Reads) -> None:
    open_(root)
    assert open_(root, size=8).images_NHWC.shape == (12, 8, 8, 3)
    assert len(reads) == 24
    open_(root)
    assert len(reads) == 24


def test_another_test_fraction_decodes_nothing(root: Path, reads: Reads) -> None:
    open_(root)
    counts = open_(root, test_fraction=0.4).meta["counts"]
    assert counts["test"] > 0 and sum(counts.values()) == 12
    assert len(reads) == 12


def test_files_that_give_no_picture_are_left_out_with_their_reason(root: Path) -> None:
    (root / "a" / "050.png").write_bytes(b"")
    (root / "b" / "080.png").write_bytes(b"text")
    cache = open_(root)
    assert cache.meta["bad"] == {"a/050.png": "empty", "b/080.png": "no format that Pillow reads"}
    assert grays(cache) == [10, 30, 70, 90, 110, 20, 40, 60, 100, 120]
    assert cache.labels_N.tolist() == [0] * 5 + [1] * 5


def test_a_file_that_can_be_read_again_is_taken_in(root: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads) -> None:
    decode = module.decode
    with monkeypatch.context() as patch:
        patch.setattr(module, "decode", lambda path, *rest: "Stale file" if "070" in path else decode(path, *rest))
        assert open_(root).meta["bad"] == {"a/070.png": "Stale file"}
    reads.clear()
    cache = open_(root)
    assert cache.meta["bad"] == {} and grays(cache)[:5] == [10, 30, 50, 70, 90]
    assert set(reads) == {"070.png"}


def test_nothing_but_damaged_files(tmp_path: Path) -> None:
    for kind in "ab":
        (tmp_path / "p" / kind).mkdir(parents=True)
        (tmp_path / "p" / kind / "1.png").write_bytes(b"")
    cache = open_(tmp_path / "p")
    assert cache.images_NHWC.shape == (0, 4, 4, 3) and len(cache.meta["bad"]) == 2


@pytest.mark.parametrize("name", ["pixels.u8", "index.npy", "meta.json"])
def test_half_a_cache_is_made_anew(root: Path, name: str) -> None:
    folder = open_(root).folder
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert grays(open_(root))[:3] == [10, 30, 50]
    assert (folder / name).read_bytes() == content


def test_an_interrupted_making_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: str, *_):
        if path.endswith("070.png"):
            raise KeyboardInterrupt
        return np.zeros((4, 4, 3), np.uint8)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "decode", interrupt)
        open_(root)
    assert list((root.parent / "cache" / "pictures").iterdir()) == []
    assert grays(open_(root))[:3] == [10, 30, 50]


def test_what_a_killed_process_left_goes(root: Path) -> None:
    part = root.parent / "cache" / "pictures" / "0123.part"
    part.mkdir(parents=True)
    (part / "pixels.u8").write_bytes(b"half")
    open_(root)
    assert not part.exists()


def test_two_at_once_decode_once(root: Path, reads: Reads) -> None:
    threads = [threading.Thread(target=open_, args=(root,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 12


def test_a_cache_and_a_folder_that_cannot_be_written_to(root: Path) -> None:
    cache_dir = root.parent / "cache"
    open_(root)
    with unwritable(*root.iterdir(), root, *cache_dir.rglob("pictures/*"), cache_dir / "pictures", cache_dir):
        assert grays(open_(root))[:3] == [10, 30, 50]


def test_no_place_to_write_is_named(root: Path) -> None:
    cache_dir = root.parent / "cache"
    cache_dir.mkdir()
    with unwritable(cache_dir), pytest.raises(UserError, match=r"cannot be made: Permission denied.*another folder"):
        open_(root)


def test_too_little_room_is_said_before(root: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"MB free, and .* MB of decoded pictures .*image_size, or another cache_dir"):
        open_(root)
    assert reads == []


def test_changing_a_gathered_picture_leaves_the_cache(root: Path) -> None:
    cache = open_(root)
    cache.images_NHWC[0] = 0
    assert grays(open_(root))[0] == 10


def test_names_that_are_no_text(root: Path) -> None:
    os.rename(root / "a" / "010.png", os.fsencode(root / "a") + b"/0\xff0.png")
    cache = open_(root)
    assert sorted(grays(cache)) == [10 * number for number in range(1, 13)]
    assert b"a/0\xff0.png" in (cache.folder / "files.csv").read_bytes()


def test_the_meta_file_says_what_it_is_of(root: Path) -> None:
    meta = json.loads((open_(root).folder / "meta.json").read_text())
    assert (meta["root"], meta["size"], meta["resize"]) == (str(root), 4, "crop")
