"""Finds images that are there twice, or almost: scaled, compressed or recolored copies.

Shapes: N images, P pairs of them, B images of a block, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BLOCK = 4096  # images in memory at a time
BITS = 63  # the 8 x 8 lowest frequencies without the mean
MAX_BITS = 9  # that differ
MIN_CORRELATION = 0.9
# Codes are sorted as often, each time from another bit on, and compared with so many neighbors. On CIFAR-10 this finds
# 95 % of the pairs that a comparison of all codes finds, in a second.
ORDERS, NEIGHBORS = 21, 8

_POPULATION = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


class Duplicates(NamedTuple):
    """Pairs of images that show the same. Indices count through all sets."""

    pairs_P2: Tensor  # int64, the smaller index first; of n equal images n - 1 pairs with the first
    is_exact_P: Tensor  # bool: every pixel is equal


def find_duplicates(sets: Sequence[Tensor]) -> Duplicates:
    """Equal images by a checksum of their pixels; similar ones by a perceptual hash, the signs of low frequencies of
    a discrete cosine transform (Zauner 2010, *Implementation and Benchmarking of Perceptual Image Hash Functions*), and
    a correlation of at least 0.9 of thumbnails of 16 x 16 pixels. Time grows as n log n.

    Args:
        sets: uint8 images (N, H, W, C), of one C.
    """
    first: dict[bytes, int] = {}
    codes: list[NDArray[np.uint64]] = []
    exact: list[tuple[int, int]] = []
    for start, images_BHWC in _blocks(sets):
        for index, image in enumerate(images_BHWC.numpy(), start):
            earlier = first.setdefault(blake2b(image.tobytes(), digest_size=16).digest(), index)
            if earlier < index:
                exact.append((earlier, index))
        codes.append(_codes(images_BHWC))
    kept_M = torch.tensor(sorted(first.values()), dtype=torch.long)
    near_P2 = kept_M[_near_codes(np.concatenate(codes)[kept_M.numpy()])]
    similar = [_correlation(sets, block_B2) >= MIN_CORRELATION for block_B2 in near_P2.split(BLOCK)]
    near_P2 = near_P2[torch.cat(similar)]
    exact_P2 = torch.tensor(exact, dtype=torch.long).reshape(-1, 2)
    is_exact_P = torch.arange(len(exact_P2) + len(near_P2)) < len(exact_P2)
    return Duplicates(torch.cat([exact_P2, near_P2]), is_exact_P)


def _blocks(sets: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
    start = 0
    for images_NHWC in sets:
        for images_BHWC in images_NHWC.split(BLOCK):
            yield start, images_BHWC.cpu()
            start += len(images_BHWC)


def _codes(images_BHWC: Tensor) -> NDArray[np.uint64]:
    """The perceptual hash of each image, in the lower 63 bits."""
    gray_BHW = functional.interpolate(
        images_BHWC.float().mean(-1)[:, None], (32, 32), mode="bilinear", antialias=True, align_corners=False
    )[:, 0]
    frequency, place = torch.arange(8)[:, None], torch.arange(32)
    basis = torch.cos(torch.pi * (2 * place + 1) * frequency / 64)
    positive_BK = ((basis @ gray_BHW @ basis.T).flatten(1)[:, 1:] > 0).numpy()
    return (positive_BK.astype(np.uint64) << np.arange(BITS, dtype=np.uint64)).sum(1, dtype=np.uint64)


def _near_codes(codes_N: NDArray[np.uint64]) -> Tensor:
    """Pairs (P, 2) of indices whose codes differ in at most MAX_BITS, most of them: those that are near each other in
    one of several orders (Charikar 2002, *Similarity Estimation Techniques from Rounding Algorithms*)."""
    n = len(codes_N)
    found = np.empty(0, np.int64)
    for turn in range(ORDERS):
        shift = np.uint64(turn * BITS // ORDERS)
        turned_N = (codes_N >> shift) | (codes_N << (np.uint64(BITS) - shift)) & np.uint64((1 << BITS) - 1)
        order_N = turned_N.argsort(kind="stable")
        sorted_N = codes_N[order_N]
        for step in range(1, min(NEIGHBORS, n - 1) + 1):
            differing = (sorted_N[step:] ^ sorted_N[:-step]).view(np.uint16).reshape(-1, 4)
            near = (_POPULATION[differing].sum(1) <= MAX_BITS).nonzero()[0]
            pairs_2P = np.sort([order_N[near], order_N[near + step]], 0)
            found = np.union1d(found, pairs_2P[0] * n + pairs_2P[1])
    return torch.from_numpy(np.stack(np.divmod(found, max(n, 1)), 1))


def _correlation(sets: Sequence[Tensor], pairs_B2: Tensor) -> Tensor:
    """Of the thumbnails of two images each, float (B,)."""
    first_BD, second_BD = (_thumbnails(sets, indices_B) for indices_B in pairs_B2.T)
    return (first_BD * second_BD).sum(1)


def _thumbnails(sets: Sequence[Tensor], indices_B: Tensor) -> Tensor:
    """16 x 16 pixels as unit vectors of mean 0, float (B, 256 C); zero for an image of one color."""
    thumbnails_BD, start = torch.empty(len(indices_B), 256 * sets[0].shape[-1]), 0
    for images_NHWC in sets:
        inside_B = (indices_B >= start) & (indices_B < start + len(images_NHWC))
        images_BCHW = images_NHWC[indices_B[inside_B] - start].cpu().permute(0, 3, 1, 2).float()
        thumbnails_BD[inside_B] = functional.adaptive_avg_pool2d(images_BCHW, 16).flatten(1)
        start += len(images_NHWC)
    return functional.normalize(thumbnails_BD - thumbnails_BD.mean(1, keepdim=True))
