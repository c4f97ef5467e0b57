"""Random numbers that depend on a place and on nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from src.rng import Stream, generator, key, permutation, uniforms


@pytest.mark.parametrize(
    ("place", "expected"),
    # From `printf '\x05\0\0\0\0\0\0\0' | b2sum -l 64` and so on: eight bytes a number, the digest read from
    # its last byte to its first, halved. Another key means that every earlier run comes out differently.
    [
        ((5,), 4_849_905_822_433_771_618),
        ((5, 2, 7), 8_152_573_491_037_150_103),
        ((-1,), 1_623_352_975_185_328_750),
    ],
)
def test_the_key_of_a_place_never_changes(place: tuple[int, ...], expected: int):
    assert key(*place) == expected


def test_a_key_is_a_seed_that_torch_takes():
    keys = [key(seed, place) for seed in range(50) for place in range(50)]
    assert all(0 <= number < 2**63 for number in keys)
    assert max(keys) >= 2**62  # all 63 bits are in use


def test_neighbouring_places_have_keys_of_their_own():
    places = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0), (-1,), (0, -1)]
    assert len({key(*place) for place in places}) == len(places)


def test_each_stream_has_a_number_of_its_own():
    # Saved runs name streams by number, and two names for one number would be one stream.
    assert {stream.name: int(stream) for stream in Stream} == {
        "SPLIT": 1,
        "ORDER": 2,
        "AUGMENT": 3,
        "STEP": 4,
        "IMAGES": 5,
    }


def test_streams_of_one_seed_differ():
    tables = [uniforms(20, 3, 0, stream) for stream in Stream]
    assert not any(torch.equal(one, next_) for one, next_ in pairwise(tables))


def test_a_generator_starts_at_the_same_number_each_time():
    first, second = (torch.rand(3, generator=generator(1, 2)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_permutation_holds_each_number_once():
    order_N = permutation(100, 0, Stream.ORDER, 0)
    assert order_N.dtype == torch.int64
    assert sorted(order_N.tolist()) == list(range(100))
    assert order_N.tolist() != list(range(100))


def test_a_permutation_depends_on_seed_and_place_alone():
    expected = permutation(100, 0, Stream.ORDER, 3)
    permutation(100, 0, Stream.ORDER, 4)
    torch.rand(5)
    assert torch.equal(permutation(100, 0, Stream.ORDER, 3), expected)
    for other in [(1, Stream.ORDER, 3), (0, Stream.SPLIT, 3), (0, Stream.ORDER, 4)]:
        assert not torch.equal(permutation(100, *other), expected)


def test_uniform_numbers_fill_zero_to_one():
    numbers_NK = uniforms(1000, 4, 0, Stream.AUGMENT)
    assert numbers_NK.shape == (1000, 4)
    assert numbers_NK.dtype == torch.float32
    assert 0 <= float(numbers_NK.min()) < 0.01
    assert 0.99 < float(numbers_NK.max()) < 1
    # Each column on its own: 5 standard deviations of the mean of 1,000 are 5 * 0.2887 / 31.6 = 0.046.
    assert numbers_NK.mean(dim=0).sub(0.5).abs().max() < 0.046


def test_uniform_numbers_depend_on_seed_and_place_alone():
    expected = uniforms(10, 2, 7, 1, 2)
    torch.rand(5)
    assert torch.equal(uniforms(10, 2, 7, 1, 2), expected)
    for other in [(8, 1, 2), (7, 2, 2), (7, 1, 3), (7, 1)]:
        assert not torch.equal(uniforms(10, 2, *other), expected)


def test_torch_s_own_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    permutation(10, 0)
    uniforms(10, 2, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
