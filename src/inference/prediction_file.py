"""Predictions as a file: CSV, JSON lines or Parquet, by its suffix.

Shapes: K classes.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.errors import UserError

Row = dict[str, str | float]
ROWS_OF_GROUP = 1 << 16  # of Parquet, which are in memory


class Writer(Protocol):
    """Writes rows of the same columns."""

    def write(self, row: Row) -> None: ...

    def close(self) -> None: ...


class CSVWriter:
    """A table with a header."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._rows = csv.DictWriter(codecs.getwriter("utf-8")(file), columns, lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        self._rows.writerow(row)

    def close(self) -> None:
        """Leaves nothing to write."""


class JSONLinesWriter:
    """One object per line."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Leaves nothing to write."""


class ParquetWriter:
    """A table with typed columns."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        pyarrow = _pyarrow()
        types = [pyarrow.float64() if name.startswith("probability") else pyarrow.string() for name in columns]
        self._schema = pyarrow.schema(list(zip(columns, types, strict=True)))
        self._file = pyarrow.parquet.ParquetWriter(file, self._schema)
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_OF_GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(_pyarrow().Table.from_pylist(self._rows, self._schema))
        self._rows = []


def _pyarrow() -> Any:
    try:
        pyarrow = import_module("pyarrow")
        import_module("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            "Parquet needs the package pyarrow, of the extra `parquet`: `uv pip install pyarrow`; or give an output "
            "that ends in .csv or .jsonl"
        ) from error
    return pyarrow


FORMATS: dict[str, type[CSVWriter] | type[JSONLinesWriter] | type[ParquetWriter]] = {
    ".csv": CSVWriter,
    ".jsonl": JSONLinesWriter,
    ".parquet": ParquetWriter,
}


@contextmanager
def writing(path: Path, columns: Sequence[str]) -> Iterator[Writer]:
    """Writes a file that replaces `path` when the block ends without an error, and is removed otherwise."""
    kind = FORMATS.get(path.suffix)
    if kind is None:
        raise UserError(f"output {path} must end in {', '.join(FORMATS)}, which is the format that is written")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            writer = kind(file, columns)
            yield writer
            writer.close()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def columns(spec: ImageSpec, top_k: int) -> list[str]:
    """The names of the columns: the most probable class and those after it, and all classes of an image that can have
    several."""
    ranked = [name for k in range(top_k) for name in (f"class{_nth(k)}", f"probability{_nth(k)}")]
    return ["path", *(["classes"] if spec.multi_label else []), *ranked]


def row(path: str, probabilities_K: Tensor, spec: ImageSpec, top_k: int) -> Row:
    """The values of the columns."""
    values: Row = {"path": printable(path)}
    if spec.multi_label:
        chosen = (probabilities_K >= spec.threshold).nonzero().flatten().tolist()
        values["classes"] = ";".join(spec.classes[label] for label in chosen)
    top = torch.topk(probabilities_K, top_k)
    for k, (probability, label) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
        values[f"class{_nth(k)}"] = spec.classes[label]
        values[f"probability{_nth(k)}"] = round(probability, 6)
    return values


def printable(path: str) -> str:
    """A path in UTF-8, with escapes such as \\xff for bytes that are not."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _nth(k: int) -> str:
    return f"_{k + 1}" if k else ""
