"""The files that paths name."""

from __future__ import annotations

import io
import os
from pathlib import Path

from src.inference.image_paths import image_paths, listed


def test_files_folders_and_patterns_in_their_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "b/deep/3.jpg", "b/.hidden.png", "b/notes.txt", "a[1].png", "c/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/deep/loop").symlink_to("..", target_is_directory=True)
    places = [f"{tmp_path}/{name}" for name in ("missing.png", "a[1].png", "b", "[c]/*", "x*.png", "b/notes.txt")]
    found = [path.removeprefix(f"{tmp_path}/") for path in image_paths(places)]
    expected = ["missing.png", "a[1].png", "b/1.png", "b/2.png", "b/deep/3.jpg", "c/4.png", "x*.png", "b/notes.txt"]
    assert found == expected


def test_lines_of_a_list_need_not_be_utf_8() -> None:
    assert list(listed(io.BytesIO(b"a b.png\r\n\n\xff.png"))) == ["a b.png", os.fsdecode(b"\xff.png")]
