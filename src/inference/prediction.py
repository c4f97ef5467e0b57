"""Predicts on image files.

Shapes: B images, S rows and columns, C channels, K classes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from src.data.image_spec import ImageSpec
from src.data.storage.progress import info, progress
from src.errors import UserError
from src.inference.decoded_files import decoded_batches
from src.inference.prediction_file import columns, printable, row, writing

MAX_NAMED = 20  # files that are printed; all of them are in the report
Probabilities = Callable[[Tensor], Tensor]  # (B, K) of images that have their stored size, uint8 (B, S, S, C)


class Counts(NamedTuple):
    """The files that were predicted, and those that could not be decoded."""

    predicted: int
    bad: int


def predict(
    paths: Iterable[str],
    probabilities: Probabilities,
    spec: ImageSpec,
    output: Path,
    *,
    top_k: int | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
    max_pixels: int,
    white: float | None = None,
) -> Counts:
    """Writes one row for each file that can be decoded, in their order. The others are listed, with the reasons, in
    `<output>.report.csv`, together with notes on others; the first ones are also printed. `top_k` is the number of the
    most probable classes in a row; None is one, or all where an image can have several classes.

    Raises:
        UserError: if there is no file; the output is left as it was.
    """
    if top_k is not None and not 1 <= top_k <= len(spec.classes):
        raise UserError(f"top_k {top_k} must be between 1 and {len(spec.classes)}, the number of classes")
    report = output.with_suffix(".report.csv")
    predicted = bad = noted = 0
    start, bar = time.perf_counter(), progress("predict", None, "images")
    with bar, writing(output, columns(spec, top_k)) as write, writing(report, ["path", "reason"]) as write_reason:
        for batch in decoded_batches(paths, spec, max_pixels, white, batch_size, num_workers):
            for path, reason in (*batch.bad, *batch.noted):
                write_reason({"path": printable(path), "reason": reason})
            for path, reason in batch.bad[: max(0, MAX_NAMED - bad)]:
                if sys.stderr.isatty():
                    bar.clear()
                info(f"{printable(path)}: {reason}")
            predicted += len(batch.paths)
            bad, noted = bad + len(batch.bad), noted + len(batch.noted)
            if batch.paths:
                with torch.inference_mode():
                    probabilities_BK = probabilities(batch.images_BSSC).cpu()
                for path, probabilities_K in zip(batch.paths, probabilities_BK, strict=True):
                    write(row(path, probabilities_K, spec, top_k))
            bar.update(len(batch.paths) + len(batch.bad))
        if not predicted + bad:
            raise UserError("there are no image files")
    seconds = time.perf_counter() - start
    info(f"predictions of {predicted:,} images in {output} ({predicted / seconds:,.0f} images/s)")
    if bad or noted:
        info(f"{bad:,} files could not be read, and {noted:,} have a note, such as of several frames: see {report}")
    else:
        report.unlink()
    return Counts(predicted, bad)
