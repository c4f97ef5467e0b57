"""The images of the report.

Shapes: B images, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from src.callbacks import reliability_diagram
from src.callbacks.image_grid import image_grid
from src.callbacks.test_samples import TestSamples

_COLUMNS = 4
_DPI = 200


def save_reliability(path: Path, samples: TestSamples) -> None:
    """The accuracy of the samples by their confidence."""
    bins = reliability_diagram.reliability(samples.probabilities_NK, samples.labels_N, 15)
    reliability_diagram.plot(bins, samples.multi_label).savefig(path, dpi=_DPI)


def save_mistakes(path: Path, images_BHWC: Tensor, captions: Sequence[str], maps_BHW: Tensor | None) -> None:
    """Rows of images with captions; below each row the maps of these images, if there are any."""
    if maps_BHW is None:
        image_grid(images_BHWC, captions, _COLUMNS).savefig(path, dpi=_DPI)
        return
    images, texts, maps = [], [], []
    for row in range(0, len(captions), _COLUMNS):
        shown = slice(row, row + _COLUMNS)
        rows = images_BHWC[shown], list(captions[shown]), maps_BHW[shown]
        empty = [""] * (-len(rows[1]) % _COLUMNS)  # fills the last row, so that maps stand below their images
        white_BHWC = images_BHWC.new_full((len(empty), *images_BHWC.shape[1:]), 255)
        none_BHW = maps_BHW.new_zeros((len(empty), *maps_BHW.shape[1:]))
        images += [rows[0], white_BHWC] * 2
        texts += [*rows[1], *empty, *[""] * _COLUMNS]
        maps += [torch.zeros_like(rows[2]), none_BHW, rows[2], none_BHW]
    image_grid(torch.cat(images), texts, _COLUMNS, maps_NHW=torch.cat(maps)).savefig(path, dpi=_DPI)
