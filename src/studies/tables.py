"""Tables in Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence


def markdown(names: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table, and an empty one."""
    yield f"| {' | '.join(names)} |"
    yield "|" + " --- |" * len(names)
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)
    yield ""


def as_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """A table with a column for each key."""
    writer = csv.DictWriter(
        file := io.StringIO(), dict.fromkeys(key for row in rows for key in row), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
