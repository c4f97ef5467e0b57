"""Muon: compared with torch.optim.Muon for convolutions and with torch.optim.SGD for all other parameters."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from src.optim.muon import Muon, orthogonalize


class Net(nn.Module):
    """Has parameters of each kind, and always the same initial weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 6, 3)
        self.head = nn.Linear(6 * 4, 3)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.conv(images_BCHW).flatten(1))


def set_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)  # in the memory format of the parameter


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("shape", [(8, 64), (64, 8)])
def test_orthogonalize_brings_singular_values_close_to_one(shape: tuple[int, int]):
    matrix_MN = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    values = torch.linalg.svdvals(orthogonalize(matrix_MN, steps=5).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_zero_gradient_gives_zero_update():
    assert torch.equal(orthogonalize(torch.zeros(4, 9), steps=3), torch.zeros(4, 9))


def test_convolution_step_equals_torch_muon():
    module = Net()
    matrix = nn.Parameter(module.conv.weight.detach().flatten(1).clone())
    # For a wide matrix, torch does not adjust the learning rate to the shape.
    optimizer = Muon(module.parameters(), lr=0.1, momentum=0.9, newton_schulz_steps=5, normalize=False)
    torch_optimizer = torch.optim.Muon([matrix], lr=0.1, momentum=0.9, weight_decay=0)
    for seed in range(4):
        set_gradients(module, seed)
        assert module.conv.weight.grad is not None
        matrix.grad = module.conv.weight.grad.flatten(1).clone()
        optimizer.step()
        torch_optimizer.step()
    assert torch.allclose(module.conv.weight.flatten(1), matrix, atol=4e-3)  # torch's computes in bf16


def test_other_parameters_step_like_torch_nesterov_sgd():
    module, torch_module = Net(), Net()
    optimizer = Muon(module.parameters(), head_lr=0.1, bias_lr=0.5, sgd_momentum=0.8, weight_decay=0.02)
    sgd: dict[str, Any] = {"momentum": 0.8, "nesterov": True}
    torch_optimizer = torch.optim.SGD(
        [
            {"params": [torch_module.head.weight], "lr": 0.1, "weight_decay": 0.2, **sgd},  # 0.1 * 0.2 = 0.02
            {"params": [torch_module.conv.bias, torch_module.head.bias], "lr": 0.5, "weight_decay": 0.04, **sgd},
        ]
    )
    for seed in range(4):
        set_gradients(module, seed)
        set_gradients(torch_module, seed)
        optimizer.step()
        torch_optimizer.step()
    expected = torch_module.state_dict()
    for name in ("conv.bias", "head.weight", "head.bias"):
        assert torch.allclose(module.state_dict()[name], expected[name])


def test_tall_matrix_is_updated_with_full_rank():
    conv = nn.Conv2d(1, 20, 3, bias=False)  # a matrix of 20 x 9
    before = conv.weight.detach().clone()
    set_gradients(conv, 0)
    Muon(conv.parameters(), lr=1.0, newton_schulz_steps=5, normalize=False).step()
    assert torch.linalg.svdvals((before - conv.weight.detach()).flatten(1)).min() > 0.6


def test_normalize_sets_the_norm():
    module = Net()
    with torch.no_grad():
        module.conv.weight.mul_(1000)
    optimizer = Muon(module.parameters(), lr=0.0)
    set_gradients(module, 0)
    optimizer.step()
    assert module.conv.weight.norm().item() == pytest.approx(6**0.5)


def test_channels_last_gives_the_same_step():
    contiguous, channels_last = Net(), Net().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    for module in (contiguous, channels_last):
        optimizer = Muon(module.parameters())
        set_gradients(module, 0)
        optimizer.step()
    assert torch.allclose(weights(contiguous), weights(channels_last), atol=1e-6)
    assert channels_last.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_schedule_scales_all_learning_rates():
    optimizer = Muon(Net().parameters(), lr=0.2, head_lr=0.4, bias_lr=20.0)
    schedule = LambdaLR(optimizer, lambda step: 1 - step / 4)
    optimizer.step()
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.15, 0.3, 15.0])


def test_frozen_parameter_does_not_change():
    module = Net()
    module.conv.weight.requires_grad_(False)
    before = module.conv.weight.clone()
    optimizer = Muon(module.parameters())
    module(torch.rand(2, 2, 4, 4)).sum().backward()
    optimizer.step()
    assert torch.equal(module.conv.weight, before)


def test_resumes_from_a_saved_state():
    uninterrupted, first, second = Net(), Net(), Net()
    reference, saved_optimizer = Muon(uninterrupted.parameters()), Muon(first.parameters())
    for seed in range(2):
        for module, optimizer in ((uninterrupted, reference), (first, saved_optimizer)):
            set_gradients(module, seed)
            optimizer.step()
    file = io.BytesIO()
    torch.save({"net": first.state_dict(), "optimizer": saved_optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second.load_state_dict(saved["net"])
    resumed = Muon(second.parameters(), lr=9.0)  # load_state_dict restores lr, as in all torch optimizers
    resumed.load_state_dict(saved["optimizer"])
    for module, optimizer in ((uninterrupted, reference), (second, resumed)):
        set_gradients(module, 2)
        optimizer.step()
    assert torch.equal(weights(uninterrupted), weights(second))


def test_step_returns_the_loss_of_the_closure():
    module = Net()
    assert Muon(module.parameters()).step(lambda: module(torch.ones(1, 2, 4, 4)).sum() * 0 + 3).item() == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -0.1}, "lr -0.1 must not be negative"),
        ({"bias_lr": -1.0}, "bias_lr -1.0 must not be negative"),
        ({"momentum": 1.0}, r"momentum 1.0 .*must be in \[0, 1\)"),
        ({"newton_schulz_steps": 0}, "newton_schulz_steps 0 must be at least 1"),
    ],
)
def test_number_out_of_range_raises(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Muon(Net().parameters(), **wrong)


def test_groups_and_networks_without_convolution_raise():
    with pytest.raises(ValueError, match="Muon creates the parameter groups"):
        Muon([{"params": list(Net().parameters())}])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no convolution"):
        Muon(nn.Linear(2, 2).parameters())
