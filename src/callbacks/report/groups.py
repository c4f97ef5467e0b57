"""Groups of test samples, from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path


def read_groups(path: str) -> dict[int, str]:
    """The group of each sample, by its index in the test set.

    Args:
        path: of a CSV file with the columns `sample`, the index as in predictions.csv, and `group`.

    Raises:
        ValueError: if the file does not exist, or is not of this form.
    """
    if not Path(path).expanduser().is_file():
        raise ValueError(f"groups {path} is not a file; give a CSV file with the columns sample and group")
    try:
        rows = list(csv.reader(Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"groups {path} is not a CSV file: {error}") from error
    if not rows or sorted(name.strip() for name in rows[0]) != ["group", "sample"]:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise ValueError(f"groups {path} must begin with the line `sample,group`; it begins with {found}")
    sample = [name.strip() for name in rows[0]].index("sample")
    groups: dict[int, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != 2 or not row[sample].strip().isdecimal():
            found = ",".join(row)
            raise ValueError(
                f"groups {path}, line {number}: {found} is not the index of a sample and a group (7,north)"
            )
        groups[int(row[sample])] = row[1 - sample].strip()
    return groups
