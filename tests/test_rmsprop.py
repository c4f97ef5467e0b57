"""RMSprop in pieces: the numbers of torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src import rmsprop
from src.rmsprop import RMSprop

SHAPES = [(), (1,), (7,), (5, 3), (2, 3, 3, 3), (1, 40)]


def trained(kind: type[torch.optim.Optimizer], steps: int = 3, **kwargs: Any) -> tuple[list[Tensor], dict[str, Any]]:
    """Parameters of several shapes after some steps, and the optimizer's state."""
    generator = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    params[4].data = params[4].data.contiguous(memory_format=torch.channels_last)
    idle = nn.Parameter(torch.ones(2))  # never gets a gradient
    optimizer = kind([*params, idle], **kwargs)
    for _ in range(steps):
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator)
        optimizer.step()
    return [param.detach() for param in [*params, idle]], optimizer.state_dict()


@pytest.mark.parametrize("piece", [1, 4, 2**18])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-7},
        {"momentum": 0.5},
        {"centered": True},
        {"weight_decay": 0.1},
        {"maximize": True},
        {"foreach": True},
        {"lr": torch.tensor(0.1)},
    ],
    ids=str,
)
def test_weights_and_state_are_torch_s_to_the_bit(kwargs: Any, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmsprop, "PIECE", piece)
    (ours, our_state), (theirs, their_state) = trained(RMSprop, **kwargs), trained(torch.optim.RMSprop, **kwargs)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert our_state["param_groups"] == their_state["param_groups"]
    torch.testing.assert_close(our_state["state"], their_state["state"], rtol=0, atol=0)


def test_large_weights_go_in_pieces_of_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rmsprop, "PIECE", 6)
    assert [part.shape for part in rmsprop._pieces(torch.ones(5, 3))] == [(2, 3), (2, 3), (1, 3)]
    assert [part.shape for part in rmsprop._pieces(torch.ones(2, 3))] == [(2, 3)]
    assert [part.shape for part in rmsprop._pieces(torch.ones(2, 9))] == [(1, 9), (1, 9)]


def test_a_closure_is_called_with_gradients_and_its_loss_returned() -> None:
    param = nn.Parameter(torch.tensor([2.0]))
    optimizer = RMSprop([param], lr=0.5, alpha=0.0, eps=0.0)

    def loss() -> Tensor:
        value = (param**2).sum()
        value.backward()
        return value

    assert optimizer.step(loss).item() == 4
    assert param.item() == 1.5  # the gradient over its own size, times the rate


def test_torch_s_state_is_gone_on_with() -> None:
    _, state = trained(torch.optim.RMSprop)
    params = [nn.Parameter(torch.zeros(shape)) for shape in [*SHAPES, (2,)]]
    optimizer = RMSprop(params)
    optimizer.load_state_dict(state)
    params[1].grad = torch.ones(1)
    optimizer.step()
    assert optimizer.state[params[1]]["step"] == 4
