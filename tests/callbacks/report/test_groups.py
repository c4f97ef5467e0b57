"""The file of groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from src.callbacks import Report
from src.callbacks.report.groups import read_groups


def written(folder: Path, content: bytes) -> str:
    (folder / "groups.csv").write_bytes(content)
    return str(folder / "groups.csv")


def test_groups_by_index(tmp_path: Path) -> None:
    assert read_groups(written(tmp_path, b"sample,group\n3,north\n0, a b \n\n")) == {3: "north", 0: "a b"}
    assert read_groups(written(tmp_path, b'\xef\xbb\xbfgroup,sample\r\n"x, y",7\r\n')) == {7: "x, y"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it begins with nothing"),
        (b"index,group\n1,a\n", "must begin with the line `sample,group`; it begins with index, group"),
        (b"sample,group\n1,a\ncat.png,b\n", r"line 3: cat.png,b is not the index of a sample"),
        (b"sample,group\n1\n", "line 2: 1 is not"),
        (b"\xff\xfe\x00", "is not a CSV file"),
    ],
)
def test_a_malformed_file_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        Report(groups=written(tmp_path, content))


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="num_images -1 is negative"):
        Report(num_images=-1)


def test_a_missing_file_is_refused_before_training(fails: Callable[..., str], tiny: list[str]) -> None:
    text = fails("fit", *tiny, "--trainer.default_callbacks.report.groups=missing.csv")
    assert "groups missing.csv is not a file" in text
