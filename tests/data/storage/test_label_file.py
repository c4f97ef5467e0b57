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


def test_spaces_and_the_form_of_letters_make_no_other_class(tmp_path: Path) -> None:
    file = written(tmp_path, "path, label,group \n1.png,caf\u00e9,p1\n 2.png, cafe\u0301 ,p1 \n")
    labels = read_labels(file)
    assert labels.classes == ("caf\u00e9",)
    assert labels.rows == [Row("1.png", "caf\u00e9", "p1", ""), Row(" 2.png", "caf\u00e9", "p1", "")]


def test_a_column_for_each_class_of_several(tmp_path: Path) -> None:
    file = written(tmp_path, "subset,red,path,big,group\ntrain,1,1.png,0,a\ntest,0,2.png,0,\n")
    rows = [Row("1.png", (1, 0), "a", "train"), Row("2.png", (0, 0), "2.png", "test")]
    assert read_labels(file) == (("red", "big"), rows, True)
    assert read_labels(written(tmp_path, "path,label,big\n1.png,cat,0\n")) == (
        ("cat",),
        [Row("1.png", "cat", "1.png", "")],
        False,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1,a\n", "has the columns file, label; path is missing"),
        ("", "has the columns ; path and label is missing"),
        ("path,label\n1.png,a\n2.png,\n", "row 3: path and label must not be empty"),
        ("path,label\n1.png,a\n1.png,b\n", "row 3: 1.png is in an earlier row, too"),
        ("path,label,subset\n1.png,a,training\n", "row 2: subset 'training' must be one of train, val, test"),
        ("path,red\n1.png,1\n", "has the columns path, red; label is missing"),
        ("path,red,big\n1.png,1,0\n2.png,1,\n", "row 3: big is '';.* each column is a class with 0 or 1, except path"),
        ("path,red,big\n1.png,1\n", "row 2: big is None"),
        ("path;label\n1.png;a\n", "path and label is missing. They are separated by commas"),
        ("path,red,red\n1.png,1,0\n", "has the columns path, red, red, of which some have one name"),
        ("path,label\n1.png,dog, brown\n", "row 2 has 3 values for 2 columns; quote one that has a comma"),
        ("path,label\na/1.png,a\n./a//1.png,b\n", "row 3: ./a//1.png is in an earlier row, too"),
        (
            "path,label,group,subset\n1.png,a,p1,train\n2.png,a,p1,test\n",
            "row 3: an image of the group p1 is in test, and one in an earlier row in train; put them into one subset",
        ),
    ],
)
def test_errors_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_labels(written(tmp_path, text))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv cannot be read: .*No such file"):
        read_labels(tmp_path / "gone.csv")
