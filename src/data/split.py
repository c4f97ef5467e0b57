"""Splits a training set into training and validation samples.

Shapes: N samples.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from src import rng
from src.errors import UserError

Split = Literal["tail", "random", "stratified"]


def split(labels_N: Tensor, how: Split, fraction: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Splits off a fraction in [0, 1) of a training set for validation: its last samples (`tail`, as Keras's
    `validation_split` does), `random` ones, or the same fraction of each class to the nearest sample (`stratified`).

    Returns:
        The training and the validation indices, in ascending order.

    Raises:
        ValueError: if `how` is unknown.
        UserError: if there would be no training samples, or no validation samples with a fraction above 0.
    """
    if how not in get_args(Split):
        raise ValueError(f"split {how!r} is unknown; use one of {', '.join(get_args(Split))}")
    n = len(labels_N)
    order_N = torch.arange(n) if how == "tail" else rng.permutation(n, seed, rng.Stream.SPLIT)
    # Rounded down, as Keras does; 1e-6 so that 10 * (1 - 0.9) is 1 and not 0.
    train_size = math.floor(n * (1 - fraction) + 1e-6)
    if how == "stratified":
        order_N = _with_fraction_of_each_class_last(order_N, labels_N, fraction, n - train_size)
    train, validation = order_N.tensor_split([train_size])
    if len(train) == 0 or (fraction > 0 and len(validation) == 0):
        raise UserError(
            f"val_fraction {fraction} leaves {len(train)} training and {len(validation)} validation samples of {n}; "
            "use one that leaves some of each, or 0 for no validation"
        )
    return train.sort().values, validation.sort().values


def _with_fraction_of_each_class_last(order_N: Tensor, labels_N: Tensor, fraction: float, total: int) -> Tensor:
    quota_K = labels_N.bincount().double() * fraction
    taken_K = quota_K.floor().long()
    # The classes with the largest remainders get one more sample each, so that the total is exact.
    missing = total - int(taken_K.sum())
    taken_K[(quota_K - quota_K.floor()).argsort(descending=True, stable=True)[:missing]] += 1
    # Sorted by class once, 0.3 s for a million samples in a thousand classes; a mask for each class took 53 s.
    by_class_N = order_N[labels_N[order_N].argsort(stable=True)]
    first_K = labels_N.bincount().cumsum(0) - labels_N.bincount()
    rank_N = torch.arange(len(order_N)) - first_K[labels_N[by_class_N]]  # within the class
    return by_class_N[(rank_N < taken_K[labels_N[by_class_N]]).long().argsort(stable=True)]
