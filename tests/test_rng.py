"""Stateless random numbers: they depend on the seed and the counters only."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from src.rng import Stream, between, generator, key, mixed, permutation, uniforms


@pytest.mark.parametrize(
    ("position", "expected"),
    # From `printf '\x05\0\0\0\0\0\0\0' | b2sum -l 64`: eight bytes per number, little-endian digest, shifted right
    # by one. If the key changes, no earlier run can be reproduced.
    [
        ((5,), 4_849_905_822_433_771_618),
        ((5, 2, 7), 8_152_573_491_037_150_103),
        ((-1,), 1_623_352_975_185_328_750),
    ],
)
def test_key_is_stable(position: tuple[int, ...], expected: int):
    assert key(*position) == expected


def test_key_is_a_valid_torch_seed():
    keys = [key(seed, counter) for seed in range(50) for counter in range(50)]
    assert all(0 <= number < 2**63 for number in keys)
    assert max(keys) >= 2**62  # all 63 bits are used


def test_neighboring_positions_have_different_keys():
    positions = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0), (-1,), (0, -1)]
    assert len({key(*position) for position in positions}) == len(positions)


def test_numbers_of_the_streams_are_stable():
    # Results depend on these numbers, and two streams with the same number would be one.
    assert {stream.name: int(stream) for stream in Stream} == {
        "SPLIT": 1,
        "ORDER": 2,
        "AUGMENT": 3,
        "STEP": 4,
        "IMAGES": 5,
        "REPORT": 6,
    }


def test_streams_differ():
    tables = [uniforms(20, 3, 0, stream) for stream in Stream]
    assert not any(torch.equal(a, b) for a, b in pairwise(tables))


def test_generator_is_reproducible():
    first, second = (torch.rand(3, generator=generator(1, 2)) for _ in range(2))
    assert torch.equal(first, second)


def test_permutation_contains_each_index_once():
    order_N = permutation(100, 0, Stream.ORDER, 0)
    assert order_N.dtype == torch.int64
    assert sorted(order_N.tolist()) == list(range(100))
    assert order_N.tolist() != list(range(100))


def test_permutation_depends_on_seed_and_counters_only():
    expected = permutation(100, 0, Stream.ORDER, 3)
    permutation(100, 0, Stream.ORDER, 4)
    torch.rand(5)
    assert torch.equal(permutation(100, 0, Stream.ORDER, 3), expected)
    for other in [(1, Stream.ORDER, 3), (0, Stream.SPLIT, 3), (0, Stream.ORDER, 4)]:
        assert not torch.equal(permutation(100, *other), expected)


def test_uniforms_are_in_zero_to_one():
    numbers_NK = uniforms(1000, 4, 0, Stream.AUGMENT)
    assert numbers_NK.shape == (1000, 4)
    assert numbers_NK.dtype == torch.float32
    assert 0 <= float(numbers_NK.min()) < 0.01
    assert 0.99 < float(numbers_NK.max()) < 1
    # For each column, 5 standard deviations of the mean of 1,000 numbers are 5 * 0.2887 / 31.6 = 0.046.
    assert numbers_NK.mean(dim=0).sub(0.5).abs().max() < 0.046


def test_uniforms_depend_on_seed_and_counters_only():
    expected = uniforms(10, 2, 7, 1, 2)
    torch.rand(5)
    assert torch.equal(uniforms(10, 2, 7, 1, 2), expected)
    for other in [(8, 1, 2), (7, 2, 2), (7, 1, 3), (7, 1)]:
        assert not torch.equal(uniforms(10, 2, *other), expected)


def test_global_random_state_of_torch_is_unchanged():
    before = torch.random.get_rng_state()
    permutation(10, 0)
    uniforms(10, 2, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("low", "high"), [(-40.0, 40.0), (0.8, 1.2), (-0.2, 0.2), (0.9, 1.1), (-18.0, 18.0)])
def test_between_includes_its_bounds_and_does_not_exceed_them(low: float, high: float):
    ends = between(torch.tensor([0.0, 0.5, 1 - 2**-24]), low, high)
    torch.testing.assert_close(ends, torch.tensor([low, (low + high) / 2, high]))
    low_, high_ = torch.tensor([low, high]).tolist()  # as float32 has them
    assert low_ <= ends[0] <= ends[2] <= high_


def test_mixed_numbers_are_uniform_and_depend_on_id_and_seed() -> None:
    ids_N = np.arange(10000, dtype=np.uint64)
    uniform_N = mixed(ids_N, 1, 2)
    assert (uniform_N >= 0).all() and (uniform_N < 1).all()
    counts = np.histogram(uniform_N, 10, (0, 1))[0]
    assert (abs(counts - 1000) < 120).all()  # standard deviation 30
    assert abs(np.corrcoef(uniform_N[:-1], uniform_N[1:])[0, 1]) < 0.04
    assert (mixed(ids_N[5:6], 1, 2) == uniform_N[5]).all()
    assert abs(np.corrcoef(uniform_N, mixed(ids_N, 2, 2))[0, 1]) < 0.04
