"""Muon: against torch's own for matrices, against torch's SGD for the rest, and what it is for."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from src.optim.muon import Muon, orthogonalize


class Net(nn.Module):
    """A parameter of each kind; always the same first weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 6, 3)
        self.head = nn.Linear(6 * 4, 3)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.conv(images_BCHW).flatten(1))


def give_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)  # in the parameter's memory format


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("shape", [(8, 64), (64, 8)])
def test_singular_values_come_near_one(shape: tuple[int, int]):
    matrix_MN = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    values = torch.linalg.svdvals(orthogonalize(matrix_MN, steps=5).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_zero_gradient_gives_a_zero_update():
    assert torch.equal(orthogonalize(torch.zeros(4, 9), steps=3), torch.zeros(4, 9, dtype=torch.bfloat16))


def test_convolutions_move_as_torch_moves_the_same_matrix():
    module = Net()
    matrix = nn.Parameter(module.conv.weight.detach().flatten(1).clone())
    # A wide matrix, where torch's rate is not adjusted to the shape.
    own = Muon(module.parameters(), lr=0.1, momentum=0.9, newton_schulz_steps=5, normalize=False)
    torchs = torch.optim.Muon([matrix], lr=0.1, momentum=0.9, weight_decay=0)
    for seed in range(4):
        give_gradients(module, seed)
        assert module.conv.weight.grad is not None
        matrix.grad = module.conv.weight.grad.flatten(1).clone()
        own.step()
        torchs.step()
    assert torch.allclose(module.conv.weight.flatten(1), matrix, atol=1e-6)


def test_the_rest_moves_as_torch_s_nesterov_sgd():
    own, torchs = Net(), Net()
    one = Muon(own.parameters(), head_lr=0.1, bias_lr=0.5, sgd_momentum=0.8, weight_decay=0.02)
    sgd: dict[str, Any] = {"momentum": 0.8, "nesterov": True}
    other = torch.optim.SGD(
        [
            {"params": [torchs.head.weight], "lr": 0.1, "weight_decay": 0.2, **sgd},  # 0.1 * 0.2 = 0.02
            {"params": [torchs.conv.bias, torchs.head.bias], "lr": 0.5, "weight_decay": 0.04, **sgd},
        ]
    )
    for seed in range(4):
        give_gradients(own, seed)
        give_gradients(torchs, seed)
        one.step()
        other.step()
    theirs = torchs.state_dict()
    for name in ("conv.bias", "head.weight", "head.bias"):
        assert torch.allclose(own.state_dict()[name], theirs[name])


def test_a_convolution_of_more_outputs_than_inputs_moves_in_every_direction():
    conv = nn.Conv2d(1, 20, 3, bias=False)  # a matrix of 20 x 9
    before = conv.weight.detach().clone()
    give_gradients(conv, 0)
    Muon(conv.parameters(), lr=1.0, newton_schulz_steps=5, normalize=False).step()
    assert torch.linalg.svdvals((before - conv.weight.detach()).flatten(1)).min() > 0.6


def test_normalise_makes_the_rate_a_relative_step():
    module = Net()
    with torch.no_grad():
        module.conv.weight.mul_(1000)
    optimizer = Muon(module.parameters(), lr=0.0)
    give_gradients(module, 0)
    optimizer.step()
    assert module.conv.weight.norm().item() == pytest.approx(6**0.5)


def test_channels_last_makes_no_difference():
    plain, last = Net(), Net().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    for module in (plain, last):
        optimizer = Muon(module.parameters())
        give_gradients(module, 0)
        optimizer.step()
    assert torch.allclose(weights(plain), weights(last), atol=1e-6)
    assert last.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_schedule_scales_every_rate():
    optimizer = Muon(Net().parameters(), lr=0.2, head_lr=0.4, bias_lr=20.0)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / 4)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.15, 0.3, 15.0])


def test_a_frozen_parameter_stays():
    module = Net()
    module.conv.weight.requires_grad_(False)
    before = module.conv.weight.clone()
    optimizer = Muon(module.parameters())
    module(torch.rand(2, 2, 4, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(module.conv.weight, before)


def test_a_saved_state_goes_on_where_it_was():
    whole, first, second = Net(), Net(), Net()
    never_stopped, stopped = Muon(whole.parameters()), Muon(first.parameters())
    for seed in range(2):
        for module, optimizer in ((whole, never_stopped), (first, stopped)):
            give_gradients(module, seed)
            optimizer.step()
    file = io.BytesIO()
    torch.save({"net": first.state_dict(), "optimizer": stopped.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second.load_state_dict(saved["net"])
    resumed = Muon(second.parameters(), lr=9.0)  # what was saved wins, as in every torch optimizer
    resumed.load_state_dict(saved["optimizer"])
    for module, optimizer in ((whole, never_stopped), (second, resumed)):
        give_gradients(module, 2)
        optimizer.step()
    assert torch.equal(weights(whole), weights(second))


def test_the_closure_s_loss_comes_back():
    module = Net()
    assert Muon(module.parameters()).step(lambda: module(torch.ones(1, 2, 4, 4)).sum() * 0 + 3).item() == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -0.1}, "lr -0.1 must not be negative"),
        ({"bias_lr": -1.0}, "bias_lr -1.0 must not be negative"),
        ({"momentum": 1.0}, r"momentum 1.0 is outside \[0, 1\)"),
        ({"newton_schulz_steps": 0}, "newton_schulz_steps 0 must be at least 1"),
    ],
)
def test_a_number_out_of_range_is_named(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Muon(Net().parameters(), **wrong)


def test_groups_and_networks_without_convolution_are_refused():
    with pytest.raises(ValueError, match="makes the groups by itself"):
        Muon([{"params": list(Net().parameters())}])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no convolution"):
        Muon(nn.Linear(2, 2).parameters())
