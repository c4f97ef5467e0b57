"""Random numbers as a function of place.

Nothing here keeps a state: the order of an epoch, the augmentation of a picture and the dropout of a
step are computed from the seed and from where they happen. So they come out the same however often a run
was interrupted, and however many processes share it.

Shapes: N samples, K numbers a sample.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """What the numbers are for. Streams with one seed are independent of each other."""

    SPLIT = 1
    ORDER = 2
    AUGMENT = 3
    STEP = 4
    PICTURES = 5


def key(seed: int, *place: int) -> int:
    """A 63-bit seed for one place, the same on every platform and in every version of Python."""
    packed = struct.pack(f"<{1 + len(place)}q", seed, *place)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *place: int) -> torch.Generator:
    """A CPU generator at its beginning, for one place."""
    return torch.Generator().manual_seed(key(seed, *place))


def permutation(n: int, seed: int, *place: int) -> Tensor:
    """The numbers 0 to n - 1 in an order that depends on the place alone, int64 (N,)."""
    return torch.randperm(n, generator=generator(seed, *place))


def uniforms(n: int, k: int, seed: int, *place: int) -> Tensor:
    """Numbers in [0, 1), float32 (N, K). Row i belongs to sample i, whoever asks for it and when."""
    return torch.rand(n, k, generator=generator(seed, *place))
