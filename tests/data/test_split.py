"""Which samples validate, how many, and that each is in one subset."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from src.data.split import Split, fold_of, split
from src.errors import UserError

HOW: list[Split] = ["tail", "random", "stratified"]
TEN_CLASSES = torch.arange(50_000) % 10


def classes(*counts: int) -> Tensor:
    """Labels sorted by class: counts[0] of class 0, counts[1] of class 1, ..."""
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("fraction", "train_size"), [(0.2, 40_000), (0.1, 45_000), (0.0, 50_000)])
def test_sizes_for_cifar10_are_those_of_keras(how: Split, fraction: float, train_size: int):
    train, validation = split(TEN_CLASSES, how, fraction)
    assert (len(train), len(validation)) == (train_size, 50_000 - train_size)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("n", "fraction", "train_size"),
    [(7, 0.5, 3), (10, 0.25, 7), (5, 0.01, 4), (3, 0.1, 2), (10, 0.9, 1)],  # floor of 3.5, 7.5, 4.95, 2.7, 1
)
def test_training_size_is_rounded_down(how: Split, n: int, fraction: float, train_size: int):
    train, validation = split(torch.zeros(n, dtype=torch.int64), how, fraction)
    assert (len(train), len(validation)) == (train_size, n - train_size)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.5, 0.77])
def test_each_index_occurs_once_in_ascending_order(how: Split, fraction: float):
    parts = split(classes(10, 3, 0, 24), how, fraction)
    assert all(part.dtype == torch.int64 and torch.equal(part, part.sort().values) for part in parts)
    assert sorted(torch.cat(parts).tolist()) == list(range(37))


def test_tail_uses_the_last_samples():
    train, validation = split(torch.tensor([3, 1, 2, 0, 1, 1, 0, 2, 3, 3]), "tail", 0.3)
    assert train.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert validation.tolist() == [7, 8, 9]


def test_random_samples_are_evenly_distributed():
    _, validation = split(torch.zeros(1000, dtype=torch.int64), "random", 0.5)
    # Half of each tenth of the set, 50 of 100; 5 standard deviations, sqrt(100 / 4), are 25.
    assert all(25 < count < 75 for count in (validation // 100).bincount(minlength=10).tolist())


@pytest.mark.parametrize(
    ("counts", "fraction", "taken"),
    [
        ((10, 20, 30), 0.1, [1, 2, 3]),
        ((100, 100), 0.29, [29, 29]),  # 100 * 0.29 is 28.999999999999996 in floating point
        ((10, 10), 0.25, [3, 2]),  # 2.5 each, 5 in all
        ((4, 4, 12), 0.2, [1, 1, 2]),  # 0.8, 0.8 and 2.4 sum to 4: the larger remainders get one more
        ((5, 0, 5), 0.2, [1, 0, 1]),  # a class without samples
    ],
)
def test_stratified_fraction_of_each_class_with_exact_total(counts: tuple[int, ...], fraction: float, taken: list[int]):
    labels_N = classes(*counts)
    _, validation = split(labels_N, "stratified", fraction)
    assert labels_N[validation].bincount(minlength=len(counts)).tolist() == taken


def test_stratified_is_exact_for_cifar10():
    train, validation = split(TEN_CLASSES, "stratified", 0.1)
    assert TEN_CLASSES[train].bincount().tolist() == [4500] * 10
    assert TEN_CLASSES[validation].bincount().tolist() == [500] * 10


def test_stratified_samples_are_random_within_a_class():
    _, validation = split(classes(100, 100), "stratified", 0.5)
    assert 0 < int((validation < 50).sum()) < 50  # not exactly the first or the second half of class 0


@pytest.mark.parametrize("how", HOW)
def test_the_same_seed_gives_the_same_split(how: Split):
    one, two = (split(TEN_CLASSES, how, 0.2, seed=4) for _ in range(2))
    assert torch.equal(one[1], two[1])


@pytest.mark.parametrize(("how", "changes"), [("tail", False), ("random", True), ("stratified", True)])
def test_another_seed_changes_the_samples(how: Split, changes: bool):
    one, two = (split(TEN_CLASSES, how, 0.2, seed=seed)[1] for seed in (0, 1))
    assert torch.equal(one, two) is not changes


def test_unknown_split_is_rejected():
    with pytest.raises(ValueError, match="'tial' is unknown; use one of tail, random, stratified"):
        split(TEN_CLASSES, "tial", 0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("n", "fraction", "sizes"),
    [
        (1, 0.5, "0 training and 1 validation samples of 1"),
        (0, 0.0, "0 training and 0 validation samples of 0"),
    ],
)
def test_subset_without_samples_is_rejected(how: Split, n: int, fraction: float, sizes: str):
    with pytest.raises(UserError, match=f"val_fraction {fraction} leaves {sizes}"):
        split(torch.zeros(n, dtype=torch.int64), how, fraction)


@pytest.mark.parametrize("how", HOW)
def test_fraction_zero_leaves_no_validation(how: Split):
    train, validation = split(classes(2, 3), how, 0.0)
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2, 3, 4], [])


def test_by_hash_added_samples_move_no_other() -> None:
    labels_N = torch.arange(500) % 3
    train, validation = split(labels_N, "hash", 0.2, seed=1)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(500))
    assert 70 < len(validation) < 130  # 100 expected, with a standard deviation of 9
    longer = split(torch.arange(600) % 3, "hash", 0.2, seed=1)[1]
    assert longer[longer < 500].tolist() == validation.tolist()
    assert split(labels_N, "hash", 0.2, seed=2)[1].tolist() != validation.tolist()


def test_by_hash_each_class_keeps_a_training_sample() -> None:
    uniform_N = torch.tensor([0.1, 0.05, 0.9, 0.15, 0.02])
    train, validation = split(torch.tensor([0, 0, 1, 1, 2]), "hash", 0.5, uniform_N=uniform_N)
    assert (train.tolist(), validation.tolist()) == ([0, 2, 4], [1, 3])


def test_by_hash_equal_numbers_stay_together() -> None:
    uniform_N = torch.tensor([0.2, 0.2, 0.9, 0.1])  # the first is the only one of its class
    train, validation = split(torch.tensor([0, 1, 1, 1]), "hash", 0.5, uniform_N=uniform_N)
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2], [3])


def test_folds_are_stratified_and_of_equal_size():
    labels_N = classes(7, 11, 5)
    fold_N = fold_of(labels_N, 3)
    assert fold_N.bincount().tolist() == [8, 8, 7]
    for label, count in enumerate((7, 11, 5)):
        sizes = fold_N[labels_N == label].bincount(minlength=3)
        assert sizes.sum() == count and sizes.max() - sizes.min() <= 1


def test_folds_depend_on_the_seed_alone():
    labels_N = torch.arange(90) % 9
    assert torch.equal(fold_of(labels_N, 5, 1), fold_of(labels_N, 5, 1))
    assert not torch.equal(fold_of(labels_N, 5, 1), fold_of(labels_N, 5, 2))


def test_a_group_is_in_one_fold():
    group_N = torch.arange(60) // 4
    fold_N = fold_of(torch.arange(60) % 3, 3, uniform_N=group_N / 15)
    assert all(len(fold_N[group_N == group].unique()) == 1 for group in range(15))
    assert fold_N.bincount().tolist() == [20, 20, 20]


def test_fewer_samples_than_folds_are_an_error():
    with pytest.raises(UserError, match="folds 4 is more than the 3 samples"):
        fold_of(classes(3), 4)
