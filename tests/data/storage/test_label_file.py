from __future__ import annotations

from pathlib import Path

import pytest

from src.data.storage.label_file import Row, read_labels
from src.errors import UserError


def written(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")  # as a spreadsheet writes it
    return folder / "labels.csv"


def test_rows_of_a_file(tmp_path: Path) -> None:
    file = written(tmp_path, 'note,label,path\n1,cat,"a, b.png"\n2,dog,c/d.png\n')
    assert read_labels(file).rows == [Row("a, b.png", "cat", "a, b.png", ""), Row("c/d.png", "dog", "c/d.png", "")]
    file = written(tmp_path, "path,label,group,subset\n1.png,cat,p1,train\n2.png,dog,,test\n")
    assert read_labels(file).rows == [Row("1.png", "cat", "p1", "train"), Row("2.png", "dog", "2.png", "test")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1,a\n", "has the columns file, label; path is missing"),
        ("", "has the columns ; path and label is missing"),
        ("path,label\n1.png,a\n2.png,\n", "row 3: path and label must not be empty"),
        ("path,label\n1.png,a\n1.png,b\n", "row 3: 1.png is in an earlier row, too"),
        ("path,label,subset\n1.png,a,training\n", "row 2: subset 'training' must be one of train, val, test"),
    ],
)
def test_errors_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labels(written(tmp_path, text))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv cannot be read: .*No such file"):
        read_labels(tmp_path / "gone.csv")
