from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.data.storage.folder_scan import SUBSETS, Listing, list_files, read_layout
from src.errors import UserError
from tests.data.storage.test_disk import unwritable


def make(root: Path, *paths: str) -> Path:
    """Files of one byte; a path that ends in / is an empty folder."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).mkdir(exist_ok=True) if path.endswith("/") else (root / path).write_bytes(b"x")
    return root


def listed(root: Path, test_fraction: float = 0.0) -> Listing:
    return list_files(read_layout(root), test_fraction)


def rows(files: Listing) -> list[tuple[str, int, str]]:
    return [
        (SUBSETS[subset], int(label), path)
        for subset, label, path in zip(files.subsets_N, files.labels_N, files.paths, strict=True)
    ]


def assert_rejected(root: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        listed(root)
    assert [word for word in words if word not in str(caught.value)] == []


def test_one_folder_per_class_at_any_depth_sorted_by_name(tmp_path: Path) -> None:
    make(tmp_path, "dog/b.png", "dog/2020/a.png", "cat/z.png", "cat/a.png", "notes.txt")
    make(tmp_path, ".git/x", "cat/.DS_Store", "cat/Thumbs.db")
    assert read_layout(tmp_path).classes == ("cat", "dog")
    assert rows(listed(tmp_path)) == [
        ("train", 0, "cat/a.png"),
        ("train", 0, "cat/z.png"),
        ("train", 1, "dog/2020/a.png"),
        ("train", 1, "dog/b.png"),
    ]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAINING", "validation", "TESTING"),
        ("training_set", "validation_set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("seg_train/seg_train", "dev", "seg_test/seg_test"),
    ],
)
def test_order_of_subsets(tmp_path: Path, train: str, val: str, test: str) -> None:
    make(tmp_path, f"{test}/b/1", f"{test}/a/1", f"{train}/b/1", f"{train}/a/1", f"{val}/b/1", f"{val}/a/")
    assert rows(listed(tmp_path)) == [
        ("train", 0, f"{train}/a/1"),
        ("train", 1, f"{train}/b/1"),
        ("val", 1, f"{val}/b/1"),
        ("test", 0, f"{test}/a/1"),
        ("test", 1, f"{test}/b/1"),
    ]


@pytest.mark.parametrize("names", [("train_data", "test_data"), ("my train", "my validation", "my test")])
def test_classes_that_look_like_subsets_are_rejected(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *[f"{name}/1" for name in names])
    assert_rejected(tmp_path, "look like subsets and not like classes", "train, val and test")


def test_links_to_a_folder_above_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "a/deep/2", "b/1")
    (tmp_path / "a/loop").symlink_to(".", target_is_directory=True)
    (tmp_path / "a/deep/up").symlink_to("..", target_is_directory=True)
    (tmp_path / "a/other").symlink_to("../b", target_is_directory=True)
    (tmp_path / "b/back").symlink_to("../a", target_is_directory=True)
    expected = ["a/1", "a/deep/2", "a/other/1", "b/1", "b/back/1", "b/back/deep/2"]
    assert listed(tmp_path).paths == expected


def test_files_with_the_suffix_of_something_else_are_ignored(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/notes.TXT", "a/table.csv", "a/film.mp4", "a/none", "a/own.xyz", "b/1.JPG", "b/x.svg")
    files = listed(tmp_path)
    assert files.paths == ["a/1.png", "a/none", "a/own.xyz", "b/1.JPG", "b/x.svg"]
    assert files.ignored == ("a/film.mp4", "a/notes.TXT", "a/table.csv")


def test_an_empty_test_set_is_reported(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    with pytest.raises(UserError, match=r"test_fraction 0\.0001 of the 2 files .* gives no test images"):
        listed(tmp_path, 0.0001)


def test_class_can_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, "car/1", "train/1")
    assert read_layout(tmp_path).classes == ("car", "train")


def test_the_path_alone_decides_whether_a_file_is_for_testing(tmp_path: Path) -> None:
    names = [f"{kind}/{number}" for kind in "ab" for number in range(500)]
    before = rows(listed(make(tmp_path, *names), 0.1))
    test = {path for subset, _, path in before if subset == "test"}
    assert 70 < len(test) < 130  # 100 expected, with a standard deviation of 9.5
    assert [subset for subset, _, _ in before] == ["train"] * (1000 - len(test)) + ["test"] * len(test)
    after = rows(listed(make(tmp_path, *[f"{kind}/new{number}" for kind in "ab" for number in range(50)]), 0.1))
    assert {path for subset, _, path in after if subset == "test" and "new" not in path} == test
    more = rows(listed(tmp_path, 0.2))
    assert test < {path for subset, _, path in more if subset == "test"}
    assert {subset for subset, _, _ in rows(listed(tmp_path))} == {"train"}


def test_key_changes_with_path_size_and_modification_time(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    os.utime(tmp_path / "a/1", ns=(0, 5))
    first = listed(tmp_path).keys_N.tolist()
    assert listed(tmp_path).keys_N.tolist() == first
    os.utime(tmp_path / "a/1", ns=(0, 6))
    later = listed(tmp_path).keys_N.tolist()
    (tmp_path / "a/1").write_bytes(b"xy")
    os.utime(tmp_path / "a/1", ns=(0, 5))
    longer = listed(tmp_path).keys_N.tolist()
    (tmp_path / "a/1").rename(tmp_path / "a/2")
    renamed = listed(tmp_path).keys_N.tolist()
    assert len({keys[0] for keys in (first, later, longer, renamed)}) == 4
    assert {keys[1] for keys in (first, later, longer, renamed)} == {first[1]}


def test_broken_link_is_listed(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    (tmp_path / "a/2").symlink_to("gone")
    assert listed(tmp_path).paths == ["a/1", "a/2", "b/1"]


def test_other_layouts_are_rejected(tmp_path: Path) -> None:
    assert_rejected(tmp_path / "nowhere", "nowhere cannot be read: No such file", "one folder of images per class")
    assert_rejected(make(tmp_path / "file", "1") / "1", "Not a directory")
    assert_rejected(make(tmp_path / "flat", "1.png", "2.png"), "one folder per class", "found none")
    assert_rejected(make(tmp_path / "one", "cat/1"), "at least 2", "found cat in")
    assert_rejected(make(tmp_path / "empty", "cat/1", "dog/"), "no training files in dog")
    assert_rejected(make(tmp_path / "loose", "train/1", "val/1"), "found none in", "loose/train")
    assert_rejected(make(tmp_path / "no_train", "val/a/1", "test/a/1"), "has test, val; it must have train")


def test_subsets_with_different_classes_are_rejected(tmp_path: Path) -> None:
    two = ("train/a/1", "train/b/1")
    assert_rejected(
        make(tmp_path / "1", *two, "val/a/1"),
        "1/val must have the same classes",
        "missing: b, unknown: none",
        "make an empty folder",
    )
    assert_rejected(
        make(tmp_path / "2", *two, "test/a/1", "test/b/1", "test/c/1"), "2/test must have", "missing: none, unknown: c"
    )
    assert_rejected(
        make(tmp_path / "3", *two, "extra/a/1"), "has extra, train; it must have train, and next to it only"
    )
    assert_rejected(
        make(tmp_path / "4", *two, "val/a/1", "valid/a/1"),
        "has train, val, valid; it must have train, and next to it only",
    )


def test_class_whose_name_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    make(tmp_path, "train/a/1", "train/b/1")
    os.rename(tmp_path / "train/b", os.fsencode(tmp_path / "train") + b"/caf\xe9")
    assert_rejected(tmp_path, "names are not UTF-8: 'caf\\udce9'", "Rename")


def test_folder_tagged_as_a_cache_is_not_read(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1", "cache/CACHEDIR.TAG", "cache/x/2", "b/c/CACHEDIR.TAG", "b/c/3")
    assert listed(tmp_path).paths == ["a/1", "b/1"]


def test_class_without_training_files_is_reported(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    with pytest.raises(UserError, match=r"in a, b with test_fraction 0\.999999"):
        listed(tmp_path, 0.999999)


def test_unreadable_folder_is_reported(tmp_path: Path) -> None:
    make(tmp_path, "a/1", "b/1")
    with unwritable(tmp_path / "a", mode=0o000):
        assert_rejected(tmp_path, "a cannot be read: Permission denied")
