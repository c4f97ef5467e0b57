"""Splits a training set into training and validation samples.

Shapes: N samples.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from src import rng
from src.errors import UserError

Split = Literal["tail", "random", "stratified", "hash"]


def split(
    labels_N: Tensor, how: Split, fraction: float, seed: int = 0, uniform_N: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Splits off a fraction in [0, 1) of a training set for validation: its last samples (`tail`, as Keras's
    `validation_split` does), `random` ones, the same fraction of each class to the nearest sample (`stratified`), or
    those whose own random number is below the fraction (`hash`), so that added samples move no other.

    Args:
        labels_N: classes of the training set.
        how: one of the four.
        fraction: of the samples.
        seed: of the random ones.
        uniform_N: the random numbers for `hash`, in [0, 1); None takes those of the sample indices. One sample of each
            class is for training in any case, that with the largest. Equal numbers stay together.

    Returns:
        The training and the validation indices, in ascending order.

    Raises:
        ValueError: if `how` is unknown.
        UserError: if there would be no training samples, or no validation samples with a fraction above 0.
    """
    if how not in get_args(Split):
        raise ValueError(f"split {how!r} is unknown; use one of {', '.join(get_args(Split))}")
    n = len(labels_N)
    if how == "hash":
        uniform_N = rng.uniforms(n, 1, seed, rng.Stream.SPLIT)[:, 0] if uniform_N is None else uniform_N
        return _checked(*_by_hash(labels_N, fraction, uniform_N), fraction)
    order_N = torch.arange(n) if how == "tail" else rng.permutation(n, seed, rng.Stream.SPLIT)
    # Rounded down, as Keras does; 1e-6 so that 10 * (1 - 0.9) is 1 and not 0.
    train_size = math.floor(n * (1 - fraction) + 1e-6)
    if how == "stratified":
        order_N = _with_fraction_of_each_class_last(order_N, labels_N, fraction, n - train_size)
    train, validation = order_N.tensor_split([train_size])
    return _checked(train.sort().values, validation.sort().values, fraction)


def fold_of(labels_N: Tensor, folds: int, seed: int = 0, uniform_N: Tensor | None = None) -> Tensor:
    """The fold of each sample for cross-validation, stratified: the folds differ by at most one sample in each class,
    and in total.

    Args:
        labels_N: classes of the training set.
        folds: how many.
        seed: of the random order in which samples are dealt to the folds.
        uniform_N: as in `split`: samples with equal numbers are in one fold, and count as one sample of the first of
            their classes.

    Returns:
        Numbers from 0 to folds - 1, int64 (N,).

    Raises:
        UserError: if there are fewer samples than folds.
    """
    unit_N = torch.arange(len(labels_N)) if uniform_N is None else uniform_N.unique(return_inverse=True)[1]
    num_units = int(unit_N.max()) + 1 if len(unit_N) else 0
    if num_units < folds:
        raise UserError(f"folds {folds} is more than the {num_units} samples or groups of samples; use fewer")
    label_U = torch.full((num_units,), int(labels_N.max())).scatter_reduce(0, unit_N, labels_N, "amin")
    order_U = rng.permutation(num_units, seed, rng.Stream.SPLIT)
    by_class_U = order_U[label_U[order_U].argsort(stable=True)]
    fold_U = torch.empty(num_units, dtype=torch.int64)
    fold_U[by_class_U] = torch.arange(num_units) % folds
    return fold_U[unit_N]


def _checked(train: Tensor, validation: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    if len(train) == 0 or (fraction > 0 and len(validation) == 0):
        raise UserError(
            f"val_fraction {fraction} leaves {len(train)} training and {len(validation)} validation samples of "
            f"{len(train) + len(validation)}; use one that leaves some of each, or 0 for no validation"
        )
    return train, validation


def _by_hash(labels_N: Tensor, fraction: float, uniform_N: Tensor) -> tuple[Tensor, Tensor]:
    largest_K = torch.zeros(int(labels_N.max()) + 1 if len(labels_N) else 0, dtype=uniform_N.dtype)
    largest_K = largest_K.scatter_reduce(0, labels_N, uniform_N, "amax")
    trains_N = (uniform_N >= fraction) | torch.isin(uniform_N, largest_K)  # the others of its group, too
    return trains_N.nonzero()[:, 0], (~trains_N).nonzero()[:, 0]


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
