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

from src.data.storage import folder_cache as module
from src.data.storage.decode import Decoded
from src.data.storage.folder_cache import FolderCache
from src.data.storage.folder_scan import list_files, read_layout
from src.data.storage.image_cache import ImageCache
from src.errors import UserError
from tests.data.storage.test_disk import unwritable

Reads = list[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images of 4 x 4 pixels, each of one gray value: 10, 20, ..., which is also the name."""
    for number in range(12):
        save(tmp_path / "images" / "ab"[number % 2] / f"{number + 1:02}0.png", 10 * (number + 1))
    return tmp_path / "images"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The names of the decoded files."""
    seen: Reads = []
    decode = module.decode

    def recorded(path: str, *arguments):
        seen.append(Path(path).name)
        return decode(path, *arguments)

    monkeypatch.setattr(module, "decode", recorded)
    return seen


def save(path: Path, gray: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), gray).save(path)


def open_(root: Path, size: int = 4, test_fraction: float = 0.0, cache_dir: Path | None = None) -> ImageCache:
    files = list_files(read_layout(root), test_fraction)
    return FolderCache(root, files, size, "crop", cache_dir or root.parent / "cache").open()


def grays(cache: ImageCache) -> list[int]:
    """The value of each image, which all its pixels must have."""
    flat = cache.images.images_NHWC.flatten(1)
    assert (flat == flat[:, :1]).all()
    return flat[:, 0].tolist()


def test_content(root: Path) -> None:
    cache = open_(root)
    assert cache.images.images_NHWC.shape == (12, 4, 4, 3) and cache.images.images_NHWC.dtype == torch.uint8
    assert grays(cache) == [10, 30, 50, 70, 90, 110, 20, 40, 60, 80, 100, 120]
    assert cache.images.labels_N.tolist() == [0] * 6 + [1] * 6
    assert cache.meta["counts"] == {"train": 12, "val": 0, "test": 0}
    rows = list(csv.DictReader((cache.folder / "files.csv").read_text().splitlines()))
    assert rows[7] == {"sample": "7", "subset": "train", "file": "b/040.png"}


def test_mean_and_std_are_of_the_training_images(tmp_path: Path) -> None:
    for subset, gray in {"train": 100, "val": 7, "test": 9}.items():
        for kind, more in {"a": -10, "b": 10}.items():
            save(tmp_path / "p" / subset / kind / "1.png", gray + more)
    meta = open_(tmp_path / "p").meta
    assert meta["mean"] == [round(100 / 255, 4)] * 3 and meta["std"] == [round(10 / 255, 4)] * 3


def test_std_of_constant_images_is_one(tmp_path: Path) -> None:
    save(tmp_path / "p/a/1.png", 5)
    save(tmp_path / "p/b/1.png", 5)
    assert open_(tmp_path / "p").meta["std"] == [1.0] * 3


def test_files_are_decoded_once(root: Path, reads: Reads) -> None:
    first = open_(root).folder
    assert len(reads) == 12
    assert open_(root).folder == first and len(reads) == 12


def test_moved_folder_keeps_its_cache(root: Path, reads: Reads) -> None:
    first = open_(root)
    (root.parent / "elsewhere").mkdir()
    moved = root.rename(root.parent / "elsewhere" / root.name)
    assert open_(moved, cache_dir=root.parent / "cache").folder == first.folder and len(reads) == 12


def test_only_changed_files_are_decoded_and_the_old_cache_is_deleted(root: Path, reads: Reads) -> None:
    before = open_(root)
    reads.clear()
    save(root / "a" / "010.png", 11)
    os.utime(root / "a" / "010.png", ns=(0, 1))
    save(root / "b" / "130.png", 130)
    (root / "a" / "030.png").unlink()
    (root / "b" / "020.png").rename(root / "a" / "020.png")
    after = open_(root)
    assert sorted(reads) == ["010.png", "020.png", "130.png"]
    assert grays(after) == [11, 20, 50, 70, 90, 110, 40, 60, 80, 100, 120, 130]
    assert after.images.labels_N.tolist() == [0] * 6 + [1] * 6
    assert [path.name for path in after.folder.parent.iterdir()] == [after.folder.name]
    assert grays(before)[:3] == [10, 30, 50]  # for a process that has it open


def test_each_size_has_its_own_cache(root: Path, reads: Reads) -> None:
    open_(root)
    assert open_(root, size=8).images.images_NHWC.shape == (12, 8, 8, 3)
    assert len(reads) == 24
    open_(root)
    assert len(reads) == 24


def test_another_test_fraction_decodes_nothing(root: Path, reads: Reads) -> None:
    open_(root)
    counts = open_(root, test_fraction=0.4).meta["counts"]
    assert counts["test"] > 0 and sum(counts.values()) == 12
    assert len(reads) == 12


def test_files_that_cannot_be_decoded_are_left_out_with_the_reason(root: Path) -> None:
    (root / "a" / "050.png").write_bytes(b"")
    (root / "b" / "080.png").write_bytes(b"text")
    cache = open_(root)
    assert cache.meta["bad"] == {"a/050.png": "empty", "b/080.png": "not a format that Pillow reads"}
    assert grays(cache) == [10, 30, 70, 90, 110, 20, 40, 60, 100, 120]
    assert cache.images.labels_N.tolist() == [0] * 5 + [1] * 5


def test_file_that_can_be_decoded_again_is_added(root: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads) -> None:
    decode = module.decode
    with monkeypatch.context() as patch:
        stale = Decoded(None, "Stale file")
        patch.setattr(module, "decode", lambda path, *rest: stale if "070" in path else decode(path, *rest))
        assert open_(root).meta["bad"] == {"a/070.png": "Stale file"}
    reads.clear()
    cache = open_(root)
    assert cache.meta["bad"] == {} and grays(cache)[:5] == [10, 30, 50, 70, 90]
    assert set(reads) == {"070.png"}


def test_all_files_damaged(tmp_path: Path) -> None:
    for kind in "ab":
        (tmp_path / "p" / kind).mkdir(parents=True)
        (tmp_path / "p" / kind / "1.png").write_bytes(b"")
    cache = open_(tmp_path / "p")
    assert cache.images.images_NHWC.shape == (0, 4, 4, 3) and len(cache.meta["bad"]) == 2


@pytest.mark.parametrize("name", ["pixels.u8", "labels.npy", "meta.json"])
def test_incomplete_cache_is_created_again(root: Path, name: str) -> None:
    folder = open_(root).folder
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert grays(open_(root))[:3] == [10, 30, 50]
    assert (folder / name).read_bytes() == content


def test_interruption_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: str, *_):
        if path.endswith("070.png"):
            raise KeyboardInterrupt
        return Decoded(np.zeros((4, 4, 3), np.uint8))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "decode", interrupt)
        open_(root)
    assert {path.name for path in (root.parent / "cache").rglob("*")} == {"images", "CACHEDIR.TAG"}
    assert grays(open_(root))[:3] == [10, 30, 50]


def test_remains_of_a_killed_process_are_deleted(root: Path) -> None:
    part = root.parent / "cache" / "images.part"
    part.mkdir(parents=True)
    (part / "pixels.u8").write_bytes(b"half")
    open_(root)
    assert not part.exists()


def test_concurrent_calls_decode_once(root: Path, reads: Reads) -> None:
    threads = [threading.Thread(target=open_, args=(root,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 12


def test_read_only_cache_and_folder(root: Path) -> None:
    cache_dir = root.parent / "cache"
    open_(root)
    with unwritable(*root.iterdir(), root, *cache_dir.rglob("images/*"), cache_dir / "images", cache_dir):
        assert grays(open_(root))[:3] == [10, 30, 50]


def test_unwritable_cache_dir_is_reported(root: Path) -> None:
    cache_dir = root.parent / "cache"
    cache_dir.mkdir()
    with unwritable(cache_dir), pytest.raises(UserError, match=r"cannot be written: Permission denied.*another folder"):
        open_(root)


def test_free_space_is_checked_first(root: Path, monkeypatch: pytest.MonkeyPatch, reads: Reads) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"MB free, but the cache of decoded images needs .* MB"):
        open_(root)
    assert reads == []


def test_writing_to_the_images_does_not_change_the_cache(root: Path) -> None:
    cache = open_(root)
    cache.images.images_NHWC[0] = 0
    assert grays(open_(root))[0] == 10


def test_names_that_are_not_valid_text(root: Path) -> None:
    os.rename(root / "a" / "010.png", os.fsencode(root / "a") + b"/0\xff0.png")
    cache = open_(root)
    assert sorted(grays(cache)) == [10 * number for number in range(1, 13)]
    assert b"a/0\xff0.png" in (cache.folder / "files.csv").read_bytes()


def test_meta_names_the_source(root: Path) -> None:
    meta = json.loads((open_(root).folder / "meta.json").read_text())
    assert (meta["root"], meta["size"], meta["resize"]) == (str(root), 4, "crop")


def test_two_folders_that_differ_in_content_alone_share_no_cache(tmp_path: Path) -> None:
    """As two folders of uncompressed images of one size, unpacked from one archive."""
    for plate, gray in {"1": 50, "2": 90}.items():
        for kind in "ab":
            path = tmp_path / plate / "images" / kind / "1.bmp"
            save(path, gray)
            os.utime(path, ns=(0, 5))
    first, second = (open_(tmp_path / plate / "images", cache_dir=tmp_path / "cache") for plate in "12")
    assert (grays(first), grays(second)) == ([50, 50], [90, 90])
    (tmp_path / "1").rename(tmp_path / "unused")  # and at the same place, with another file in addition
    (tmp_path / "2").rename(tmp_path / "1")
    save(tmp_path / "1/images/a/2.bmp", 20)
    assert grays(open_(tmp_path / "1/images", cache_dir=tmp_path / "cache")) == [90, 20, 90]


def test_report_names_what_is_left_out_ignored_or_used_in_part(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "a" / "bad.png").write_bytes(b"")
    (root / "a" / "readme.txt").write_text("notes")
    frames = [Image.new("L", (4, 4), gray) for gray in (33, 44)]
    frames[0].save(root / "b" / "frames.gif", save_all=True, append_images=frames[1:])
    cache = open_(root)
    expected = "file,outcome,reason\na/bad.png,left out,empty\nb/frames.gif,used in part,the first of several frames\n"
    assert (cache.folder / "report.csv").read_text() == expected + "a/readme.txt,ignored,not an image\n"
    assert f"1 files are used in part and 1 ignored: see {cache.folder}/report.csv" in capsys.readouterr().err
    save(root / "a" / "new.png", 1)
    assert "b/frames.gif,used in part" in (open_(root).folder / "report.csv").read_text()


def test_white_of_deep_images_is_measured_once_reported_and_kept(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def save16(name: str, value: int) -> None:
        Image.fromarray(np.full((4, 4), value, np.uint16)).save(root / "a" / name)

    for path in (root / "a").iterdir():
        path.unlink()
    save16("1.png", 1023)
    assert grays(open_(root))[0] == 255
    assert "in 16-bit PNG images 1023 becomes white" in capsys.readouterr().err
    save16("2.png", 4095)  # brighter than what is white by now
    after = open_(root)
    assert grays(after)[:2] == [255, 255] and after.meta["white"] == {"16-bit PNG": 1023}
    files = list_files(read_layout(root), 0.0)
    given = FolderCache(root, files, 4, "crop", root.parent / "cache", {"": 4095}).open()
    assert grays(given)[:2] == [64, 255]


def test_every_kind_of_odd_file_is_named(root: Path) -> None:
    (root / "a" / "loop").symlink_to(".", target_is_directory=True)
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "art.svg").write_text("<svg/>")
    for name in ("Thumbs.db", ".DS_Store", "readme.txt", "._010.png"):
        (root / "a" / name).write_bytes(b"\0")
    cache = open_(root)
    assert len(cache.images.labels_N) == 12
    assert cache.meta["bad"] == {
        "a/art.svg": "not a format that Pillow reads",
        "a/gone.png": "No such file or directory",
        "a/pipe.png": "not a regular file",
    }
