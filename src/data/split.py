"""Splits a training set into training and validation samples.

Shapes: N samples. Each function returns the training and the validation indices, two int64 tensors in ascending order
that together contain each of the N indices once.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from src import rng
from src.errors import UserError

Split = Literal["tail", "random", "stratified"]


def tail(labels_N: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Validates on the last samples, as Keras's `validation_split` does."""
    train, validation = torch.arange(len(labels_N)).tensor_split([_train_size(len(labels_N), fraction)])
    return train, validation


def random(labels_N: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Validates on random samples."""
    order_N = rng.permutation(len(labels_N), seed, rng.Stream.SPLIT)
    train, validation = order_N.tensor_split([_train_size(len(labels_N), fraction)])
    return train.sort().values, validation.sort().values


def stratified(labels_N: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Validates on random samples, the same fraction of each class to the nearest sample."""
    n = len(labels_N)
    order_N = rng.permutation(n, seed, rng.Stream.SPLIT)
    counts_K = labels_N.bincount().double()
    quota_K = counts_K * fraction
    taken_K = quota_K.floor().long()
    # The classes with the largest remainders get one more sample each, so that the total is exact.
    missing = (n - _train_size(n, fraction)) - int(taken_K.sum())
    taken_K[(quota_K - quota_K.floor()).argsort(descending=True, stable=True)[:missing]] += 1
    is_validation_N = torch.zeros(n, dtype=torch.bool)
    # Sorted by class once, 0.3 s for a million samples in a thousand classes; a mask for each class took 53 s.
    by_class = order_N[labels_N[order_N].argsort(stable=True)].split(counts_K.long().tolist())
    for indices, count in zip(by_class, taken_K.tolist(), strict=True):
        is_validation_N[indices[:count]] = True
    return (~is_validation_N).nonzero().flatten(), is_validation_N.nonzero().flatten()


_FUNCTIONS = {"tail": tail, "random": random, "stratified": stratified}


def split(labels_N: Tensor, how: Split, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Splits off `fraction` of a training set for validation.

    Raises:
        ValueError: if `how` is unknown or `fraction` is outside [0, 1).
        UserError: if there would be no training samples, or no validation samples with a fraction above 0.
    """
    if how not in _FUNCTIONS:
        raise ValueError(f"split {how!r} is unknown; use one of {', '.join(_FUNCTIONS)}")
    check_fraction(fraction)
    train, validation = _FUNCTIONS[how](labels_N, fraction, seed)
    if len(train) == 0 or (fraction > 0 and len(validation) == 0):
        raise UserError(
            f"val_fraction {fraction} leaves {len(train)} training and {len(validation)} validation samples of "
            f"{len(labels_N)}; use one that leaves some of each, or 0 for no validation"
        )
    return train, validation


def check_fraction(fraction: float) -> None:
    """Raises ValueError if `val_fraction` is outside [0, 1)."""
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction {fraction} is outside [0, 1); use 0.2 for a fifth, 0 for no validation")


def _train_size(n: int, fraction: float) -> int:
    # Rounded down, as Keras does; 1e-6 so that 10 * (1 - 0.9) is 1 and not 0.
    return math.floor(n * (1 - fraction) + 1e-6)
