from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from src.data.storage import depth


@pytest.mark.parametrize(
    ("largest", "expected"), [(200, 255), (900, 1023), (4000, 4095), (9000, 16383), (30000, 65535)]
)
@pytest.mark.parametrize(("suffix", "kind"), [("png", "16-bit PNG"), ("tif", "16-bit TIFF")])
def test_white_is_the_full_scale_of_the_smallest_depth(
    tmp_path: Path, largest: int, expected: int, suffix: str, kind: str
) -> None:
    for name, value in {"a": largest // 9, "b": largest, "c": 7}.items():
        Image.fromarray(np.full((2, 2), value, np.uint16)).save(tmp_path / f"{name}.{suffix}")
    Image.new("L", (2, 2), 255).save(tmp_path / "gray.png")
    (tmp_path / "broken.png").write_bytes(b"")
    assert depth.estimate([str(path) for path in tmp_path.iterdir()]) == {kind: expected}


@pytest.mark.parametrize(("largest", "expected"), [(0.7, 1.0), (1.0, 1.0), (250.0, 255.0)])
def test_white_of_floats(tmp_path: Path, largest: float, expected: float) -> None:
    Image.fromarray(np.full((2, 2), largest, np.float32)).save(tmp_path / "a.tif")
    assert depth.estimate([str(tmp_path / "a.tif")]) == {"float TIFF": expected}


def test_a_file_that_states_its_white_does_not_count(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[281] = 65535
    Image.fromarray(np.full((2, 2), 60000, np.uint16)).save(tmp_path / "a.tif", tiffinfo=tags)
    Image.fromarray(np.full((2, 2), 1000, np.uint16)).save(tmp_path / "b.tif")
    assert depth.estimate([str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]) == {"16-bit TIFF": 1023}


def test_some_files_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(depth, "_estimated_white", opened.append)
    depth.estimate([f"{number}.png" for number in range(1050)] + ["a.jpg"] * 1000)
    assert len(opened) == 96 and opened[1] == "11.png"
