"""Global batches: who gets which samples, in which order, and how an interruption goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

from src.data.index_loader import IndexLoader


def loader(n: int = 10, batch_size: int = 4, **kwargs: Any) -> IndexLoader:
    """Over the samples 100, 101, ..., so that a position taken for a sample number shows."""
    return IndexLoader(torch.arange(100, 100 + n), batch_size, **kwargs)


def batches(source: IndexLoader) -> list[list[int]]:
    """The sample numbers of all batches from here on."""
    return [batch.indices_B.tolist() for batch in source]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return [number for numbers in lists for number in numbers]


class Clock:
    """Something that tells the epoch and can be turned."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def __call__(self) -> int:
        return self.epoch


def test_without_shuffling_samples_come_as_they_lie():
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
def test_a_last_batch_that_is_not_full_can_be_left_out(n: int, drop_last: bool, sizes: list[int]):
    source = loader(n, drop_last=drop_last)
    assert [len(batch.indices_B) for batch in source] == sizes
    assert len(source) == len(sizes)


def test_ranks_take_turns():
    assert batches(loader(batch_size=6, rank=0, world_size=2)) == [[100, 102, 104], [106, 108]]
    assert batches(loader(batch_size=6, rank=1, world_size=2)) == [[101, 103, 105], [107, 109]]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_each_step_sees_the_same_samples_on_any_number_of_ranks(world_size: int, drop_last: bool):
    shared = {"n": 29, "batch_size": 12, "drop_last": drop_last, "shuffle_seed": 5}
    alone = [sorted(batch) for batch in batches(loader(**shared))]
    ranks = [loader(rank=rank, world_size=world_size, **shared) for rank in range(world_size)]
    steps = [sorted(flat(step)) for step in zip(*map(batches, ranks), strict=True)]
    assert steps == alone
    assert [len(step) for step in steps] == ([12, 12] if drop_last else [12, 12, 5])


def test_size_counts_all_ranks_and_a_rank_may_get_none():
    last = [list(loader(5, rank=rank, world_size=4))[-1] for rank in range(4)]
    assert [batch.indices_B.tolist() for batch in last] == [[104], [], [], []]
    assert [batch.size for batch in last] == [1, 1, 1, 1]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_all_ranks_make_the_same_number_of_steps(rank: int):
    # One rank with a step more would wait for the others for ever.
    source = loader(n=7, batch_size=3, rank=rank, world_size=3)
    assert len(batches(source)) == len(source) == 3


def test_a_batch_size_that_does_not_divide_names_both_numbers():
    with pytest.raises(ValueError, match=r"batch_size 100 does not divide by 3 processes.*multiple of 3"):
        loader(batch_size=100, world_size=3)


def test_shuffling_gives_each_sample_once():
    order = flat(batches(loader(50, shuffle_seed=0)))
    assert sorted(order) == list(range(100, 150))
    assert order != list(range(100, 150))


def test_the_order_depends_on_seed_and_epoch_alone():
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
def test_a_saved_state_goes_on_in_the_middle_of_its_epoch(done: int):
    saved = loader(shuffle_seed=0, epoch=Clock(2))
    iterator = iter(saved)
    before = [next(iterator).indices_B.tolist() for _ in range(done)]
    resumed = loader(shuffle_seed=0, epoch=Clock(2))
    resumed.load_state_dict(saved.state_dict())
    assert before + batches(resumed) == batches(loader(shuffle_seed=0, epoch=Clock(2)))


def test_after_a_resumed_epoch_the_next_is_whole():
    clock = Clock(2)
    source = loader(shuffle_seed=0, epoch=clock)
    source.load_state_dict(place(2, 2))
    assert len(batches(source)) == 1
    clock.epoch = 3
    assert batches(source) == batches(loader(shuffle_seed=0, epoch=Clock(3)))


def test_a_loaded_state_is_used_once():
    source = loader()
    source.load_state_dict(place(0, 2))
    assert [len(batches(source)), len(batches(source))] == [1, 3]


def test_the_state_of_an_earlier_epoch_starts_the_next_from_its_beginning():
    source = loader(shuffle_seed=0, epoch=Clock(3))
    source.load_state_dict(place(2, 2))
    assert batches(source) == batches(loader(shuffle_seed=0, epoch=Clock(3)))


def test_the_state_counts_the_batches_given_out():
    source = loader(epoch=Clock(7))
    iterator = iter(source)
    for _ in range(2):
        next(iterator)
    assert source.state_dict() == place(7, 2)


def test_a_loaded_state_is_the_state_until_the_next_batch():
    # A checkpoint written between loading and the first batch must not forget where training was.
    source = loader(epoch=Clock(2))
    source.load_state_dict(place(2, 1))
    assert source.state_dict() == place(2, 1)
    next(iter(source))
    assert source.state_dict() == place(2, 2)


def test_a_run_interrupted_twice_in_one_epoch_sees_each_sample_once():
    seen, state = [], place(0, 0)
    for _ in range(3):  # each process makes one step
        source = loader(shuffle_seed=9)
        source.load_state_dict(state)
        seen += next(iter(source)).indices_B.tolist()
        state = source.state_dict()
    assert sorted(seen) == list(range(100, 110))


@pytest.mark.parametrize("was", [{"batch_size": 2}, {"samples": 11}])
def test_the_rest_of_an_epoch_of_other_batches_cannot_be_told(was: dict[str, int]):
    with pytest.raises(ValueError, match=r"after 2 batches of batch_size .* batch_size 4 of 10 samples"):
        loader().load_state_dict({**place(0, 2), **was})


@pytest.mark.parametrize("done", [0, 5])
def test_between_epochs_the_batches_may_change(done: int):
    source = loader(epoch=Clock(1))
    source.load_state_dict({"epoch": 0, "batches": done, "batch_size": 2, "samples": 10, "of": 5})
    assert len(batches(source)) == 3
