"""Batches of indices: order, distribution over the ranks, and resuming within an epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from src.data.index_loader import IndexLoader, balanced
from src.errors import UserError


def loader(n: int = 10, batch_size: int = 4, **kwargs: Any) -> IndexLoader:
    """For the samples 100, 101, ..., so that a position cannot be mistaken for an index."""
    return IndexLoader(torch.arange(100, 100 + n), batch_size, **kwargs)


def batches(source: IndexLoader) -> list[list[int]]:
    """The indices of the remaining batches."""
    return [batch.indices_B.tolist() for batch in source]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]


class Clock:
    """Returns an epoch that can be set."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def __call__(self) -> int:
        return self.epoch


def test_without_shuffling_the_order_is_kept():
    assert batches(loader()) == [[100, 101, 102, 103], [104, 105, 106, 107], [108, 109]]
    assert [batch.size for batch in loader()] == [4, 4, 2]


@pytest.mark.parametrize(
    ("n", "drop_last", "sizes"),
    [
        (8, False, [4, 4]),
        (8, True, [4, 4]),
        (10, True, [4, 4]),
        (3, False, [3]),
        (3, True, []),
        (0, False, []),
    ],
)
def test_incomplete_last_batch_can_be_dropped(n: int, drop_last: bool, sizes: list[int]):
    source = loader(n, drop_last=drop_last)
    assert [len(batch.indices_B) for batch in source] == sizes
    assert len(source) == len(sizes)


def test_ranks_get_alternating_samples():
    assert batches(loader(batch_size=6, rank=0, world_size=2)) == [[100, 102, 104], [106, 108]]
    assert batches(loader(batch_size=6, rank=1, world_size=2)) == [[101, 103, 105], [107, 109]]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_each_step_has_the_same_samples_for_any_number_of_ranks(world_size: int, drop_last: bool):
    shared = {"n": 29, "batch_size": 12, "drop_last": drop_last, "shuffle_seed": 5}
    alone = [sorted(batch) for batch in batches(loader(**shared))]
    ranks = [loader(rank=rank, world_size=world_size, **shared) for rank in range(world_size)]
    steps = [sorted(flat(step)) for step in zip(*map(batches, ranks), strict=True)]
    assert steps == alone
    assert [len(step) for step in steps] == ([12, 12] if drop_last else [12, 12, 5])


def test_size_counts_all_ranks_and_a_rank_can_get_no_sample():
    last = [list(loader(5, rank=rank, world_size=4))[-1] for rank in range(4)]
    assert [batch.indices_B.tolist() for batch in last] == [[104], [], [], []]
    assert [batch.size for batch in last] == [1, 1, 1, 1]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_all_ranks_have_the_same_number_of_steps(rank: int):
    # A rank with one more step would wait for the others forever.
    source = loader(n=7, batch_size=3, rank=rank, world_size=3)
    assert len(batches(source)) == len(source) == 3


def test_batch_size_that_does_not_divide_is_rejected():
    with pytest.raises(UserError, match=r"batch_size 100 does not divide by 3 processes.*multiple of 3"):
        loader(batch_size=100, world_size=3)


def test_shuffling_yields_each_sample_once():
    order = flat(batches(loader(50, shuffle_seed=0)))
    assert sorted(order) == list(range(100, 150))
    assert order != list(range(100, 150))


def test_order_depends_only_on_seed_and_epoch():
    def order(seed: int, epoch: int) -> list[list[int]]:
        return batches(loader(50, shuffle_seed=seed, epoch=Clock(epoch)))

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_the_batch_size_does_not_change_the_order():
    assert flat(batches(loader(50, 4, shuffle_seed=0))) == flat(batches(loader(50, 10, shuffle_seed=0)))


def test_iterating_twice_gives_everything_twice():
    source = loader(shuffle_seed=0)
    first = batches(source)
    assert len(first) == 3
    assert batches(source) == first


def test_an_iteration_left_in_the_middle_does_not_shorten_the_next():
    source = loader()
    next(iter(source))
    assert len(batches(source)) == 3


def test_the_epoch_is_asked_for_with_the_first_batch():
    # Lightning calls iter() before it has counted the epoch up.
    clock = Clock(0)
    source = loader(50, shuffle_seed=0, epoch=clock)
    iterator = iter(source)
    clock.epoch = 1
    assert next(iterator).indices_B.tolist() == batches(loader(50, shuffle_seed=0, epoch=Clock(1)))[0]


def place(epoch: int, batches: int) -> dict[str, int]:
    return {"epoch": epoch, "batches": batches, "batch_size": 4, "samples": 10, "of": 3}


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_resuming_within_an_epoch(done: int):
    saved = loader(shuffle_seed=0, epoch=Clock(2))
    iterator = iter(saved)
    before = [next(iterator).indices_B.tolist() for _ in range(done)]
    resumed = loader(shuffle_seed=0, epoch=Clock(2))
    resumed.load_state_dict(saved.state_dict())
    assert before + batches(resumed) == batches(loader(shuffle_seed=0, epoch=Clock(2)))


def test_epoch_after_a_resumed_one_is_complete():
    clock = Clock(2)
    source = loader(shuffle_seed=0, epoch=clock)
    source.load_state_dict(place(2, 2))
    assert len(batches(source)) == 1
    clock.epoch = 3
    assert batches(source) == batches(loader(shuffle_seed=0, epoch=Clock(3)))


def test_loaded_state_is_used_once():
    source = loader()
    source.load_state_dict(place(0, 2))
    assert [len(batches(source)), len(batches(source))] == [1, 3]


def test_state_of_an_earlier_epoch_is_ignored():
    source = loader(shuffle_seed=0, epoch=Clock(3))
    source.load_state_dict(place(2, 2))
    assert batches(source) == batches(loader(shuffle_seed=0, epoch=Clock(3)))


def test_state_counts_the_batches_yielded():
    source = loader(epoch=Clock(7))
    iterator = iter(source)
    for _ in range(2):
        next(iterator)
    assert source.state_dict() == place(7, 2)


def test_loaded_state_is_kept_until_the_next_batch():
    # A checkpoint saved between loading and the first batch has the same position.
    source = loader(epoch=Clock(2))
    source.load_state_dict(place(2, 1))
    assert source.state_dict() == place(2, 1)
    next(iter(source))
    assert source.state_dict() == place(2, 2)


def test_two_interruptions_in_one_epoch_yield_each_sample_once():
    seen, state = [], place(0, 0)
    for _ in range(3):  # each process makes one step
        source = loader(shuffle_seed=9)
        source.load_state_dict(state)
        seen += next(iter(source)).indices_B.tolist()
        state = source.state_dict()
    assert sorted(seen) == list(range(100, 110))


@pytest.mark.parametrize("was", [{"batch_size": 2}, {"samples": 11}])
def test_resuming_within_an_epoch_of_other_batches_is_rejected(was: dict[str, int]):
    with pytest.raises(UserError, match=r"after 2 batches of batch_size .* batch_size 4 of 10 samples"):
        loader().load_state_dict({**place(0, 2), **was})


@pytest.mark.parametrize("done", [0, 5])
def test_batches_can_change_between_epochs(done: int):
    source = loader(epoch=Clock(1))
    source.load_state_dict({"epoch": 0, "batches": done, "batch_size": 2, "samples": 10, "of": 5})
    assert len(batches(source)) == 3


def test_batches_can_change_after_an_epoch_that_a_limit_ended():
    source = loader(epoch=Clock(0), limit=lambda: 2)
    iterator = iter(source)
    for _ in range(2):
        next(iterator)
    loader(batch_size=5).load_state_dict(source.state_dict())


# Balanced classes

LABELS_N = torch.tensor([0] * 20 + [1] * 3 + [3] * 7)  # class 2 has no samples


def balanced_batches(epoch: int, world_size: int = 1) -> list[tuple[list[int], list[int]]]:
    """Samples and repeats of each global batch."""
    batches: list[tuple[list[int], list[int]]] = [([0] * 8, [0] * 8) for _ in range(4)]
    for rank in range(world_size):
        loader = IndexLoader(
            torch.arange(30) + 100,
            8,
            rank=rank,
            world_size=world_size,
            shuffle_seed=1,
            balanced_labels_N=LABELS_N,
            epoch=lambda: epoch,
        )
        for (samples, repeats), batch in zip(batches, loader, strict=True):
            assert batch.repeats is not None and batch.partners_B is not None
            del samples[batch.size :], repeats[batch.size :]
            samples[rank::world_size] = batch.indices_B.tolist()
            repeats[rank::world_size] = batch.repeats[0].tolist()
    return batches


def test_each_class_occurs_equally_often():
    samples = torch.tensor([index - 100 for indices, _ in balanced_batches(0) for index in indices])
    repeats = torch.tensor([number for _, numbers in balanced_batches(0) for number in numbers])
    assert LABELS_N[samples].bincount().tolist() == [10, 10, 0, 10]
    large = samples[LABELS_N[samples] == 0]
    assert len(large.unique()) == 10
    small = samples[LABELS_N[samples] == 1]
    assert sorted(small.bincount(minlength=23)[20:].tolist()) == [3, 3, 4]
    pairs = set(zip(samples.tolist(), repeats.tolist(), strict=True))
    assert len(pairs) == 30 and repeats.max() == 3 and (repeats[LABELS_N[samples] == 0] == 0).all()


def test_a_balanced_order_depends_on_the_epoch_and_not_on_the_ranks():
    assert balanced_batches(0) != balanced_batches(1)
    assert balanced_batches(1, world_size=2) == balanced_batches(1)
    assert balanced_batches(1, world_size=4) == balanced_batches(1)


def test_the_rest_of_a_balanced_epoch_is_distributed_in_turn():
    shuffled_N = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    labels_N = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    counts = [labels_N[balanced(labels_N, shuffled_N, epoch)[0]].bincount().tolist() for epoch in range(4)]
    assert counts == [[4, 3, 3], [3, 4, 3], [3, 3, 4], [4, 3, 3]]
