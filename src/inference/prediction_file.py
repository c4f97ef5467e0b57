"""Predictions as a file: CSV, JSON lines or Parquet, by its suffix.

Shapes: K classes.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.errors import UserError, optional_package
from src.files import replacing

Row = dict[str, str | float]
Write = Callable[[Row], object]
_PURPOSE = "Parquet, unlike .csv and .jsonl,"
ROWS_OF_GROUP = 1 << 16  # of Parquet, which are in memory


@contextmanager
def _csv(file: IO[bytes], columns: Sequence[str]) -> Iterator[Write]:
    rows = csv.DictWriter(codecs.getwriter("utf-8")(file), columns, lineterminator="\n")
    rows.writeheader()
    yield rows.writerow


@contextmanager
def _json_lines(file: IO[bytes], columns: Sequence[str]) -> Iterator[Write]:
    yield lambda row: file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


@contextmanager
def _parquet(file: IO[bytes], columns: Sequence[str]) -> Iterator[Write]:
    pyarrow, parquet = (optional_package(name, _PURPOSE) for name in ("pyarrow", "pyarrow.parquet"))
    types = [pyarrow.float64() if name.startswith(("probability", "p(")) else pyarrow.string() for name in columns]
    schema = pyarrow.schema(list(zip(columns, types, strict=True)))
    group: list[Row] = []
    with parquet.ParquetWriter(file, schema) as table:

        def flush() -> None:
            table.write_table(pyarrow.Table.from_pylist(group, schema))
            group.clear()

        def write(row: Row) -> None:
            group.append(row)
            if len(group) == ROWS_OF_GROUP:
                flush()

        yield write
        flush()


_FORMATS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


@contextmanager
def writing(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    """Yields a function that writes a row of a file, which replaces `path` when the block ends without an error, and is
    removed otherwise."""
    if path.suffix not in _FORMATS:
        raise UserError(f"output {path} must end in {', '.join(_FORMATS)}, which is the format that is written")
    with replacing(path) as part, part.open("wb") as file, _FORMATS[path.suffix](file, columns) as write:
        yield write


def columns(spec: ImageSpec, top_k: int | None) -> list[str]:
    """The names of the columns: the most probable class and those after it. Of an image that can have several, these
    classes, and the probability of each unless `top_k` is given."""
    names = ["path", *(["classes"] if spec.multi_label else [])]
    if spec.multi_label and top_k is None:
        return [*names, *(f"p({name})" for name in spec.classes)]
    return [*names, *(name for k in range(top_k or 1) for name in (f"class{_nth(k)}", f"probability{_nth(k)}"))]


def row(path: str, probabilities_K: Tensor, spec: ImageSpec, top_k: int | None) -> Row:
    """The values of the columns."""
    values: Row = {"path": printable(path)}
    if spec.multi_label:
        chosen = spec.predicted(probabilities_K).tolist()
        values["classes"] = ";".join(name for name, has in zip(spec.classes, chosen, strict=True) if has)
    if spec.multi_label and top_k is None:
        for name, probability in zip(spec.classes, probabilities_K.tolist(), strict=True):
            values[f"p({name})"] = round(probability, 6)
        return values
    top = torch.topk(probabilities_K, top_k or 1)
    for k, (probability, label) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        values[f"class{_nth(k)}"] = spec.classes[label]
        values[f"probability{_nth(k)}"] = round(probability, 6)
    return values


def printable(path: str) -> str:
    """A path in UTF-8, with escapes such as \\xff for bytes that are not."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _nth(k: int) -> str:
    return f"_{k + 1}" if k else ""
