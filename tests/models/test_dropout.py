"""Dropout by bytes: the properties of `torch.nn.Dropout`, and when that is used instead."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from src.models.dropout import Dropout

BYTES = [1 / 256, 0.25, 0.5, 255 / 256]  # multiples of 1/256: one random byte per element
OTHERS = [0.1, 0.3, 0.0, 1.0]  # torch.nn.Dropout


def dropped(x: Tensor, p: float, seed: int = 0, kind: type[nn.Dropout] = Dropout) -> Tensor:
    torch.manual_seed(seed)
    return kind(p).train()(x)


@pytest.mark.parametrize("p", BYTES)
def test_fraction_of_zeros_is_p(p: float):
    n = 80_000
    zeros = int((dropped(torch.ones(n), p) == 0).sum())
    assert abs(zeros - n * p) < 5 * math.sqrt(n * p * (1 - p))  # five standard deviations


@pytest.mark.parametrize("p", BYTES)
def test_each_byte_of_a_word_drops_equally_often(p: float):
    # Eight elements share a random 64-bit integer; if its sign bit were always zero, every eighth would differ.
    n = 10_000
    zeros_8 = (dropped(torch.ones(n * 8), p).view(n, 8) == 0).sum(dim=0)
    assert (zeros_8 - n * p).abs().max() < 5 * math.sqrt(n * p * (1 - p))


def test_bytes_of_a_word_drop_independently():
    # Both elements of a pair are dropped in a quarter of the pairs.
    n = 40_000
    pairs = dropped(torch.ones(2 * n), 0.5).view(n, 2) == 0
    assert abs(int(pairs.all(dim=1).sum()) - n / 4) < 5 * math.sqrt(n * 3 / 16)


@pytest.mark.parametrize("p", [*BYTES, 0.1])
def test_kept_elements_are_scaled(p: float):
    y = dropped(torch.full((5000,), 3.0), p)
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([3 / (1 - p)]))


@pytest.mark.parametrize("p", BYTES + OTHERS)
def test_eval_mode_is_the_identity(p: float):
    x = torch.randn(100)
    assert torch.equal(Dropout(p).eval()(x), x)


@pytest.mark.parametrize("p", [0.25, 0.1])
@pytest.mark.parametrize("shape", [(1000,), (2, 3, 4, 5)])
def test_gradient_is_the_scaled_mask(p: float, shape: tuple[int, ...]):
    x = torch.ones(shape, requires_grad=True)
    y = dropped(x, p)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_channels_last_stays_channels_last():
    x = torch.ones(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert dropped(x, 0.25).is_contiguous(memory_format=torch.channels_last)


def test_contiguous_stays_contiguous():
    assert dropped(torch.ones(2, 3, 4, 5), 0.25).is_contiguous()


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed", "expanded", "sliced"])
def test_elements_are_dropped_individually_in_every_layout(layout: str):
    x = {
        "contiguous": torch.ones(8, 16, 8, 8),
        "channels last": torch.ones(8, 16, 8, 8).contiguous(memory_format=torch.channels_last),
        "transposed": torch.ones(16, 8, 8, 8).transpose(0, 1),
        "expanded": torch.ones(8, 1, 8, 1).expand(8, 16, 8, 8),
        "sliced": torch.ones(8, 32, 8, 8)[:, ::2],
    }[layout]
    y = dropped(x, 0.5)
    assert y.shape == x.shape
    assert set(y.unique().tolist()) == {0, 2}
    for axis in range(4):  # the mask varies along each axis
        assert (y != y.select(axis, 0).unsqueeze(axis)).any()
    assert abs(int((y == 0).sum()) - 4096) < 5 * math.sqrt(8192 / 4)


@pytest.mark.parametrize("p", OTHERS)
def test_other_probabilities_use_torch(p: float):
    x = torch.randn(1000)
    assert torch.equal(dropped(x, p), dropped(x, p, kind=nn.Dropout))


@pytest.mark.parametrize("p", BYTES)
def test_multiples_of_1_256_do_not_use_torch(p: float):
    x = torch.ones(5000)
    assert not torch.equal(dropped(x, p), dropped(x, p, kind=nn.Dropout))


def test_p_zero_keeps_all_and_p_one_drops_all():
    x = torch.randn(100)
    assert torch.equal(dropped(x, 0.0), x)
    assert not dropped(x, 1.0).any()


@pytest.mark.parametrize("p", [0.25, 0.1])
def test_mask_depends_on_the_seed(p: float):
    x = torch.ones(1000)
    assert torch.equal(dropped(x, p, seed=1), dropped(x, p, seed=1))
    assert not torch.equal(dropped(x, p, seed=1), dropped(x, p, seed=2))


def test_mask_differs_in_the_next_step():
    torch.manual_seed(0)
    layer, x = Dropout(0.25), torch.ones(1000)
    assert not torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 17])
def test_any_number_of_elements(n: int):
    y = dropped(torch.ones(n), 0.5)
    assert y.shape == (n,)
    assert set(y.tolist()) <= {0, 2}


@pytest.mark.parametrize("shape", [(0,), (0, 3, 4, 4), (2, 0)])
def test_empty_batch_stays_empty(shape: tuple[int, ...]):
    assert dropped(torch.empty(shape), 0.25).shape == shape


def test_zero_dimensional_tensor():
    assert float(dropped(torch.tensor(1.0), 0.5)) in (0, 2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_kept(dtype: torch.dtype):
    y = dropped(torch.ones(100, dtype=dtype), 0.5)
    assert y.dtype == dtype
    assert set(y.tolist()) == {0, 2}


def test_input_is_not_modified():
    x = torch.ones(100)
    dropped(x, 0.5)
    assert torch.equal(x, torch.ones(100))
