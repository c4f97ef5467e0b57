"""A CSV file with the labels of images."""

import csv
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

    Raises:
        UserError: if it cannot be read, a column or a value is missing, or an image is in two rows.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            columns, records = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.labels {file} cannot be read: {error}") from error
    own = [] if "label" in columns else [name for name in columns if name not in COLUMNS]
    if missing := [name for name in COLUMNS[:2] if name not in columns and not (name == "label" and len(own) > 1)]:
        raise UserError(f"data.labels {file} has the columns {', '.join(columns)}; {' and '.join(missing)} is missing")
    rows: dict[str, Row] = {}
    for number, record in enumerate(records, 2):
        path, label, group, subset = (record.get(name) or "" for name in COLUMNS)
        where = f"data.labels {file}, row {number}"
        if wrong := [name for name in own if record[name] not in ("0", "1")]:
            raise UserError(
                f"{where}: {wrong[0]} is {record[wrong[0]]!r}; in a file without a column label, each column is a "
                "class with 0 or 1, except path, group and subset"
            )
        label = label or tuple(int(record[name]) for name in own)
        if not path or not label:
            raise UserError(f"{where}: path and label must not be empty")
        if "subset" in columns and subset not in _SUBSETS:
            raise UserError(f"{where}: subset {subset!r} must be one of {', '.join(_SUBSETS)}")
        if path in rows:
            raise UserError(f"{where}: {path} is in an earlier row, too")
        rows[path] = Row(path, label, group or path, subset)
    return Labels(
        tuple(own) or tuple(sorted({str(row.label) for row in rows.values()})), list(rows.values()), bool(own)
    )
