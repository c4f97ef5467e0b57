"""Stateless (counter-based) random numbers.

Nothing here has a state: the order of an epoch, the augmentation of a sample and the dropout of a step depend only on
the seed and on their position (epoch, sample, step). Interruptions and the number of processes do not change them.

Shapes: N samples, K numbers per sample.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Stream(IntEnum):
    """Purposes of random numbers. Streams with the same seed are independent of each other."""

    SPLIT = 1
    ORDER = 2
    AUGMENT = 3
    STEP = 4
    IMAGES = 5
    REPORT = 6


def key(seed: int, *counters: int) -> int:
    """A 63-bit seed for one position, the same on every platform and Python version."""
    packed = struct.pack(f"<{1 + len(counters)}q", seed, *counters)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *counters: int) -> torch.Generator:
    """A new CPU generator for one position."""
    return torch.Generator().manual_seed(key(seed, *counters))


def permutation(n: int, seed: int, *counters: int) -> Tensor:
    """The integers 0 to n - 1 in an order that depends on seed and counters only, int64 (N,)."""
    return torch.randperm(n, generator=generator(seed, *counters))


def uniforms(n: int, k: int, seed: int, *counters: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 (N, K). Row i belongs to sample i on every process."""
    return torch.rand(n, k, generator=generator(seed, *counters))


def mixed(ids_N: NDArray[np.uint64], seed: int, *counters: int) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each id, which depends on the id, the seed and the counters only: the finalizer of
    SplitMix64 (Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195)."""
    bits_N = ids_N ^ np.uint64(key(seed, *counters))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits_N = (bits_N ^ (bits_N >> np.uint64(shift))) * np.uint64(factor)
    return ((bits_N ^ (bits_N >> np.uint64(31))) >> np.uint64(11)) / 2**53


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Scales uniform numbers in [0, 1) to [low, high)."""
    return low + uniform * (high - low)
