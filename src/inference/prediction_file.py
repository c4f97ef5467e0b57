"""Predictions as a file: CSV, JSON lines or Parquet, by its suffix.

Shapes: K classes.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.errors import UserError, optional_package
from src.files import replacing

Row = dict[str, str | float]
_PURPOSE = "Parquet, unlike .csv and .jsonl,"
ROWS_OF_GROUP = 1 << 16  # of Parquet, which are in memory


class Writer(ABC):
    """Writes rows of the same columns."""

    @abstractmethod
    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None: ...

    @abstractmethod
    def write(self, row: Row) -> None: ...

    def complete(self) -> None:
        """Writes what is left."""
        return


class CSVWriter(Writer):
    """A table with a header."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._rows = csv.DictWriter(codecs.getwriter("utf-8")(file), columns, lineterminator="\n")
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        self._rows.writerow(row)


class JSONLinesWriter(Writer):
    """One object per line."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


class ParquetWriter(Writer):
    """A table with typed columns."""

    def __init__(self, file: IO[bytes], columns: Sequence[str]) -> None:
        pyarrow, parquet = (optional_package(name, _PURPOSE) for name in ("pyarrow", "pyarrow.parquet"))
        types = [pyarrow.float64() if name.startswith(("probability", "p(")) else pyarrow.string() for name in columns]
        self._table, self._schema = pyarrow.Table, pyarrow.schema(list(zip(columns, types, strict=True)))
        self._file = parquet.ParquetWriter(file, self._schema)
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_OF_GROUP:
            self._flush()

    def complete(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        self._file.write_table(self._table.from_pylist(self._rows, self._schema))
        self._rows = []


FORMATS: dict[str, type[Writer]] = {".csv": CSVWriter, ".jsonl": JSONLinesWriter, ".parquet": ParquetWriter}


@contextmanager
def writing(path: Path, columns: Sequence[str]) -> Iterator[Writer]:
    """Writes a file that replaces `path` when the block ends without an error, and is removed otherwise."""
    kind = FORMATS.get(path.suffix)
    if kind is None:
        raise UserError(f"output {path} must end in {', '.join(FORMATS)}, which is the format that is written")
    with replacing(path) as part, part.open("wb") as file:
        writer = kind(file, columns)
        yield writer
        writer.complete()


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
