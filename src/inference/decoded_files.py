"""Image files decoded by several processes, in order, a few batches ahead.

Shapes: B images, S rows and columns, C = 3 channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.data.image_spec import ImageSpec
from src.data.storage import depth
from src.data.storage.decode import Decoded, decode


class DecodedBatch(NamedTuple):
    """Some files in their order."""

    images_BSSC: Tensor  # uint8, of those that could be decoded
    paths: list[str]  # of these
    bad: list[tuple[str, str]]  # the others, with their reasons
    noted: list[tuple[str, str]]  # those that are used in part, or by an estimate, with what that is


class _Files(Dataset[tuple[str, Decoded]]):
    def __init__(self, spec: ImageSpec, max_pixels: int, white: float | None) -> None:
        self.spec, self.max_pixels = spec, max_pixels
        self.white = {"": white} if white else spec.white

    def __getitem__(self, path: str) -> tuple[str, Decoded]:
        spec, estimated = self.spec, {} if "" in self.white else depth.estimate([path])
        white = {**estimated, **self.white}
        pixels, note = decode(path, spec.stored_size or spec.size, spec.resize, white, self.max_pixels)
        if unknown := estimated.keys() - self.white.keys():
            note = note or f"{white[unknown.pop()]:g} becomes white, by its own values"
        return path, Decoded(pixels, note)


def decoded_batches(
    paths: Iterable[str], spec: ImageSpec, max_pixels: int, white: float | None, batch_size: int, num_workers: int
) -> Iterator[DecodedBatch]:
    """Decodes files as a network was trained on them, as `spec` says, in `num_workers` processes (0 for this one).

    In images of more than 8 bits `white` becomes white, else what the spec says; of kinds that the network was not
    trained on, the full scale of the smallest depth that holds the values of the file.
    """
    return iter(
        DataLoader(
            _Files(spec, max_pixels, white),
            batch_sampler=_batches(paths, batch_size),  # the loader takes two batches ahead for each process
            num_workers=num_workers,
            collate_fn=_collate,
        )
    )


def _batches(paths: Iterable[str], batch_size: int) -> Iterator[list[str]]:
    remaining = iter(paths)
    while batch := list(islice(remaining, batch_size)):
        yield batch


def _collate(files: list[tuple[str, Decoded]]) -> DecodedBatch:
    good = [(path, pixels) for path, (pixels, _) in files if pixels is not None]
    images = [torch.tensor(pixels) for _, pixels in good]
    return DecodedBatch(
        torch.stack(images) if images else torch.empty(0, dtype=torch.uint8),
        [path for path, _ in good],
        [(path, note) for path, (pixels, note) in files if pixels is None],
        [(path, note) for path, (pixels, note) in files if pixels is not None and note],
    )
