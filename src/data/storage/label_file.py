"""A CSV file with the labels of images."""

import csv
import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

from src.errors import UserError

COLUMNS = ("path", "label", "group", "subset")
_SUBSETS = ("train", "val", "test")


class Row(NamedTuple):
    """One image."""

    path: str  # relative to data_dir
    label: str | tuple[int, ...]  # the name of the class; 0 or 1 for each class where an image can have several
    group: str  # images of one group stay together in a split; the path if there is no such column
    subset: str  # empty if there is no such column


class Labels(NamedTuple):
    """The content of a file."""

    classes: tuple[str, ...]
    rows: list[Row]
    multi_label: bool  # whether an image can have several classes


def read_labels(file: Path) -> Labels:
    """The rows of a CSV file with the columns `path` and `label`, and optionally `group` and `subset`. Without a column
    `label`, each other column is a class, with 1 for the images that have it and 0 for the others.

    Spaces around all but paths are left out, and letters are composed (NFC), since a class would be two otherwise.

    Raises:
        UserError: if it cannot be read, a column or a value is missing or superfluous, an image is in two rows, or a
            group in two subsets.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            header, *rows_of_file = [row for row in csv.reader(text) if row] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.labels {file} cannot be read: {error}") from error
    columns = [_plain(name) for name in header]
    if len({*columns}) < len(columns):
        raise UserError(f"data.labels {file} has the columns {', '.join(columns)}, of which some have one name")
    own = [] if "label" in columns else [name for name in columns if name not in COLUMNS]
    if missing := [name for name in COLUMNS[:2] if name not in columns and not (name == "label" and len(own) > 1)]:
        raise UserError(
            f"data.labels {file} has the columns {', '.join(columns)}; {' and '.join(missing)} is missing. "
            "They are separated by commas"
        )
    rows: dict[str, Row] = {}
    subset_of_group: dict[str, str] = {}
    for number, cells in enumerate(rows_of_file, 2):
        where = f"data.labels {file}, row {number}"
        if len(cells) > len(columns):
            raise UserError(f"{where} has {len(cells)} values for {len(columns)} columns; quote one that has a comma")
        record = {name: cell if name == "path" else _plain(cell) for name, cell in zip(columns, cells, strict=False)}
        path, label, group, subset = (record.get(name, "") for name in COLUMNS)
        if wrong := [name for name in own if record.get(name) not in ("0", "1")]:
            raise UserError(
                f"{where}: {wrong[0]} is {record.get(wrong[0])!r}; in a file without a column label, each column is a "
                "class with 0 or 1, except path, group and subset"
            )
        label = label or tuple(int(record[name]) for name in own)
        if not path or not label:
            raise UserError(f"{where}: path and label must not be empty")
        if "subset" in columns and subset not in _SUBSETS:
            raise UserError(f"{where}: subset {subset!r} must be one of {', '.join(_SUBSETS)}")
        if (place := os.path.normpath(path)) in rows:
            raise UserError(f"{where}: {path} is in an earlier row, too")
        if group and subset_of_group.setdefault(group, subset) != subset:
            raise UserError(
                f"{where}: an image of the group {group} is in {subset}, and one in an earlier row in "
                f"{subset_of_group[group]}; put them into one subset"
            )
        rows[place] = Row(path, label, group or path, subset)
    return Labels(
        tuple(own) or tuple(sorted({str(row.label) for row in rows.values()})), list(rows.values()), bool(own)
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())
