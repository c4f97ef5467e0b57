"""Muon for convolutions, SGD for all other parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Muon(Optimizer):
    """Orthogonalized momentum for convolutions, Nesterov SGD for biases, norms and linear layers.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon, and `airbench94_muon.py` of KellerJordan/cifar10-airbench. The defaults
    are its learning rates, converted from the sum of the losses of 2,000 samples to the mean of 500. For another batch
    size multiply `lr` by the square root of the ratio, and `head_lr`, `bias_lr` and `weight_decay` by the ratio.

    `torch.optim.Muon` accepts matrices only and has no `normalize`. Without `normalize`, and for a 3x3 convolution
    with at most 9 times as many outputs as inputs, both compute the same step.

    Args:
        params: parameters of a network, without groups. Those with four dimensions are convolutions, with one or none
            biases and norms, all others linear layers.
        lr: learning rate of the convolutions.
        momentum: momentum of the convolutions, in [0, 1).
        head_lr: learning rate of the linear layers.
        bias_lr: learning rate of the biases and norms.
        sgd_momentum: momentum of all parameters but the convolutions, in [0, 1).
        weight_decay: fraction that a step at the full learning rate subtracts from all parameters but the
            convolutions, before momentum.
        newton_schulz_steps: number of iterations of `orthogonalize`.
        normalize: scale the weight of each convolution to the norm sqrt(output channels) at each step, so that `lr` is
            a relative step size. Use it only where a batch norm follows, which cancels the scale.

    Raises:
        ValueError: if a number is out of range, `params` has groups, or `params` has no convolution.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.1,
        momentum: float = 0.6,
        head_lr: float = 0.4,
        bias_lr: float = 26.5,
        sgd_momentum: float = 0.85,
        weight_decay: float = 1e-3,
        newton_schulz_steps: int = 3,
        normalize: bool = True,
    ) -> None:
        for name, value in {"lr": lr, "head_lr": head_lr, "bias_lr": bias_lr, "weight_decay": weight_decay}.items():
            if value < 0:
                raise ValueError(f"{name} {value} must not be negative")
        if not (0 <= momentum < 1 and 0 <= sgd_momentum < 1):
            raise ValueError(f"momentum {momentum} and sgd_momentum {sgd_momentum} must be in [0, 1)")
        if newton_schulz_steps < 1:
            raise ValueError(f"newton_schulz_steps {newton_schulz_steps} must be at least 1")
        params = list(params)
        if not all(isinstance(param, Tensor) for param in params):
            raise ValueError("params must be the parameters() of a network: Muon creates the parameter groups")
        convs = [param for param in params if param.dim() == 4]
        if not convs:
            raise ValueError("params has no convolution, which Muon is for; use torch.optim.SGD or torch.optim.Muon")
        muon = {"momentum": momentum, "newton_schulz_steps": newton_schulz_steps, "normalize": normalize}
        groups: list[dict[str, Any]] = [{"params": convs, "lr": lr, "weight_decay": 0.0, **muon}]
        sgd = {"momentum": sgd_momentum, "newton_schulz_steps": 0, "normalize": False}
        linear = [param for param in params if param.dim() not in (0, 1, 4)]
        biases = [param for param in params if param.dim() <= 1]
        for kind, rate in ((linear, head_lr), (biases, bias_lr)):
            if kind:
                groups.append({"params": kind, "lr": rate, "weight_decay": weight_decay / rate if rate else 0.0, **sgd})
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon if group["newton_schulz_steps"] else _sgd  # the group cannot hold a function: it is saved
            for param in group["params"]:
                if param.grad is not None:
                    state = self.state[param]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(param)
                    update(param, param.grad, state["momentum_buffer"], group)
        return loss


def orthogonalize(matrix_MN: Tensor, steps: int) -> Tensor:
    """Approximates U V^T of the singular value decomposition U S V^T of a matrix, in float32 on a CPU, else in bf16.

    Newton-Schulz iteration with Jordan's quintic polynomial, which uses matrix products only: five steps bring most
    singular values into [0.7, 1.2]; with fewer, small ones stay smaller. For 256 x 2,304 and three steps, one core took
    11 ms in bf16 and 24 ms in float32 with AVX512-BF16, and 872 and 27 ms with AVX2, where bf16 is emulated.
    """
    is_wide = len(matrix_MN) <= matrix_MN.shape[1]  # use the smaller of the two Gram matrices
    x_MN = matrix_MN.to(torch.float32 if matrix_MN.device.type == "cpu" else torch.bfloat16)
    x_MN = x_MN if is_wide else x_MN.T
    # The iteration diverges for singular values far above one; the norm is an upper bound of them.
    x_MN = x_MN / x_MN.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram_MM = x_MN @ x_MN.T
        even_MM = torch.addmm(gram_MM, gram_MM, gram_MM, beta=-4.775, alpha=2.0315)
        x_MN = torch.addmm(x_MN, even_MM, x_MN, beta=3.4445)
    return x_MN if is_wide else x_MN.T


def _muon(param: Tensor, grad: Tensor, buffer: Tensor, group: dict[str, Any]) -> None:
    buffer.lerp_(grad, 1 - group["momentum"])
    nesterov = grad.lerp(buffer, group["momentum"])
    update = orthogonalize(nesterov.flatten(1), group["newton_schulz_steps"]).view(param.shape)
    if group["normalize"]:
        param.mul_(len(param) ** 0.5 / param.norm())
    param.add_(update, alpha=-group["lr"])


def _sgd(param: Tensor, grad: Tensor, buffer: Tensor, group: dict[str, Any]) -> None:
    grad = grad.add(param, alpha=group["weight_decay"])
    buffer.mul_(group["momentum"]).add_(grad)
    param.add_(grad.add(buffer, alpha=group["momentum"]), alpha=-group["lr"])
