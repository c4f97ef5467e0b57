"""WarmupDecay: learning rates that can be computed by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from src.optim.warmup_decay import WarmupDecay


def schedule(total_steps: int, rates: tuple[float, ...] = (0.5,), **kwargs: Any) -> WarmupDecay:
    """A schedule for an optimizer with one parameter group for each of `rates`."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    result = WarmupDecay(SGD(groups, lr=1.0), **kwargs)
    result.set_total_steps(total_steps)
    return result


def steps(lr: WarmupDecay, count: int) -> list[float]:
    """Learning rate of the first group now and after each of `count` steps."""
    rates = [lr.optimizer.param_groups[0]["lr"]]
    for _ in range(count):
        lr.optimizer.step()
        lr.step()
        rates.append(lr.optimizer.param_groups[0]["lr"])
    return rates


def test_linear_decay():
    assert steps(schedule(4, shape="linear"), 4) == pytest.approx([0.5, 0.375, 0.25, 0.125, 0.0])


def test_cosine_decay():
    # (1 + cos) / 2 at 0, 45, 90, 135 and 180 degrees, times 0.5.
    root = math.sqrt(0.5)
    expected = [0.5, 0.25 + 0.25 * root, 0.25, 0.25 - 0.25 * root, 0.0]
    assert steps(schedule(4, shape="cosine"), 4) == pytest.approx(expected)


def test_default_is_cosine_without_warmup():
    assert steps(schedule(4), 4) == steps(schedule(4, warmup=0.0, shape="cosine"), 4)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_linear_warmup_to_the_learning_rate_of_the_optimizer(shape: str):
    # 4 of 10 steps are warmup: 0, 1/4, 1/2, 3/4 and 1 of the rate; half of it at step 7, 0 at step 10.
    rates = steps(schedule(10, warmup=0.4, shape=shape), 10)
    assert rates[:5] == pytest.approx([0.0, 0.125, 0.25, 0.375, 0.5])
    assert rates[7] == pytest.approx(0.25)
    assert rates[10] == pytest.approx(0.0)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_start_and_end_are_fractions_of_the_learning_rate_of_the_optimizer(shape: str):
    rates = steps(schedule(4, warmup=0.5, shape=shape, start=0.2, end=0.1), 4)
    # 0.6 is halfway between 0.2 and 1, 0.55 halfway between 1 and 0.1; all times 0.5.
    assert rates == pytest.approx([0.1, 0.3, 0.5, 0.275, 0.05])


def test_learning_rate_is_constant_after_the_last_step():
    assert steps(schedule(2, end=0.1), 4)[2:] == pytest.approx([0.05, 0.05, 0.05])


def test_each_parameter_group_has_its_own_learning_rate():
    lr = schedule(4, shape="linear", rates=(0.5, 0.1))
    steps(lr, 2)
    assert lr.get_last_lr() == pytest.approx([0.25, 0.05])


def test_set_total_steps_updates_the_learning_rate():
    lr = schedule(4, shape="linear")
    assert steps(lr, 2)[-1] == pytest.approx(0.25)
    lr.set_total_steps(8)  # two of eight steps are done instead of two of four
    assert steps(lr, 6) == pytest.approx([0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625, 0.0])


def test_zero_total_steps():
    assert steps(schedule(0, shape="linear"), 1) == pytest.approx([0.5, 0.0])


def test_resumes_from_a_saved_state():
    kwargs: dict[str, Any] = {"warmup": 0.25, "shape": "linear", "start": 0.2, "end": 0.1}
    uninterrupted = steps(schedule(8, **kwargs), 8)
    saved = schedule(8, **kwargs)
    steps(saved, 3)
    resumed = schedule(8, **kwargs)
    resumed.load_state_dict(saved.state_dict())
    assert steps(resumed, 5)[1:] == pytest.approx(uninterrupted[4:])


def test_state_dict_contains_plain_values_only():
    # torch.load(weights_only=True) rejects other types.
    plain = (bool, int, float, str, list, type(None))
    assert all(isinstance(value, plain) for value in schedule(8).state_dict().values())


@pytest.mark.parametrize("warmup", [-0.1, 1.0, 5.0])
def test_warmup_out_of_range_raises(warmup: float):
    with pytest.raises(ValueError, match=rf"warmup {warmup} is outside \[0, 1\)"):
        schedule(4, warmup=warmup)


@pytest.mark.parametrize("name", ["start", "end"])
def test_negative_fraction_raises(name: str):
    kwargs: dict[str, Any] = {name: -0.5}
    with pytest.raises(ValueError, match=rf"{name} -0.5\b.*must not be negative"):
        schedule(4, **kwargs)
