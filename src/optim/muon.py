"""Muon for convolutions, with SGD for whatever else a network has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Muon(Optimizer):
    """Orthogonalized momentum for convolutions, Nesterov SGD for biases, norms and linear layers.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon, and `airbench94_muon.py` of KellerJordan/cifar10-airbench,
    whose network (`src.models.SpeedNet`) needs 8 epochs by it where SGD needs 9.9. The default rates are that
    program's, converted from sums over batches of 2,000 to means over batches of 500. Another batch size
    multiplies `lr` by the square root of the ratio, the other two rates and `weight_decay` by the ratio.

    `torch.optim.Muon` refuses all but matrices, so that convolutions would have to be given as reshaped
    copies and the rest to a second optimizer, and it does not keep the norm. Where both apply, for a 3 x 3
    convolution with no more outputs than 9 times its inputs, they make the same step; the tests compare them.
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
        """
        Args:
            params: the network's parameters, not in groups. Those of four dimensions are convolutions; of
                one, biases and norms; the rest are linear layers.
            lr: learning rate of the convolutions.
            momentum: of the convolutions, in [0, 1).
            head_lr: learning rate of the linear layers.
            bias_lr: learning rate of the biases and norms.
            sgd_momentum: of all but the convolutions, in [0, 1).
            weight_decay: share that a step at the full learning rate takes from all but the convolutions,
                before the momentum adds it up.
            newton_schulz_steps: each brings the singular values of the update nearer to one, at a cost.
            normalize: keep the norm of each convolution at the root of its output channels. Right where
                a batch norm follows, which undoes any norm, so that the learning rate is a relative step;
                elsewhere it changes what the network computes.

        Raises:
            ValueError: if a number is out of range, there are parameter groups, or no convolution.
        """
        _check_rates(lr=lr, head_lr=head_lr, bias_lr=bias_lr, weight_decay=weight_decay)
        for name, value in {"momentum": momentum, "sgd_momentum": sgd_momentum}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} {value} is outside [0, 1)")
        if newton_schulz_steps < 1:
            raise ValueError(f"newton_schulz_steps {newton_schulz_steps} must be at least 1")
        convs, biases, matrices = _by_kind(params)
        muon = {"momentum": momentum, "newton_schulz_steps": newton_schulz_steps, "normalize": normalize}
        groups: list[dict[str, Any]] = [{"params": convs, "lr": lr, "weight_decay": 0.0, **muon}]
        for kind, rate in ((matrices, head_lr), (biases, bias_lr)):
            if kind:
                decay = weight_decay / rate if rate else 0.0
                sgd = {"momentum": sgd_momentum, "newton_schulz_steps": 0, "normalize": False}
                groups.append({"params": kind, "lr": rate, "weight_decay": decay, **sgd})
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moves each parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            move = _muon if group["newton_schulz_steps"] else _sgd  # saved with the state, unlike a function
            for param in group["params"]:
                if param.grad is not None:
                    state = self.state[param]
                    if not state:
                        state["momentum_buffer"] = torch.zeros_like(param)
                    move(param, param.grad, state["momentum_buffer"], group)
        return loss


def orthogonalize(matrix_MN: Tensor, steps: int) -> Tensor:
    """Nearly U V^T of a matrix's singular value decomposition U S V^T, in bf16.

    Newton-Schulz iteration by Jordan's quintic polynomial, which is steep at zero: five steps bring most
    singular values into 0.7 to 1.2 by products of matrices alone. Fewer steps leave the small ones smaller.
    For 256 x 2,304 and three steps, on one core with AVX512-bf16, bf16 took 11 ms and float32 24 ms.

    Args:
        matrix_MN: any matrix.
        steps: number of iterations.
    """
    short_wide = len(matrix_MN) <= matrix_MN.shape[1]  # the smaller Gram matrix is the cheaper
    x_MN = matrix_MN.bfloat16() if short_wide else matrix_MN.bfloat16().T
    # The polynomial sends singular values much above one away; none is larger than the norm.
    x_MN = x_MN / x_MN.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram_MM = x_MN @ x_MN.T
        even_MM = torch.addmm(gram_MM, gram_MM, gram_MM, beta=-4.775, alpha=2.0315)
        x_MN = torch.addmm(x_MN, even_MM, x_MN, beta=3.4445)
    return x_MN if short_wide else x_MN.T


def _muon(param: Tensor, grad: Tensor, buffer: Tensor, group: dict[str, Any]) -> None:
    buffer.lerp_(grad, 1 - group["momentum"])
    ahead = grad.lerp(buffer, group["momentum"])  # Nesterov's
    update = orthogonalize(ahead.flatten(1), group["newton_schulz_steps"]).view(param.shape)
    if group["normalize"]:
        param.mul_(len(param) ** 0.5 / param.norm())
    param.add_(update, alpha=-group["lr"])


def _sgd(param: Tensor, grad: Tensor, buffer: Tensor, group: dict[str, Any]) -> None:
    grad = grad.add(param, alpha=group["weight_decay"])
    buffer.mul_(group["momentum"]).add_(grad)
    param.add_(grad.add(buffer, alpha=group["momentum"]), alpha=-group["lr"])


def _by_kind(params: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    params = list(params)
    if not all(isinstance(param, Tensor) for param in params):
        raise ValueError("params must be a network's parameters(): Muon makes the groups by itself")
    convs = [param for param in params if param.dim() == 4]
    biases = [param for param in params if param.dim() <= 1]
    matrices = [param for param in params if param.dim() not in (0, 1, 4)]
    if not convs:
        raise ValueError("params has no convolution, for which Muon is made; use torch.optim.SGD or torch.optim.Muon")
    return convs, biases, matrices


def _check_rates(**rates: float) -> None:
    for name, value in rates.items():
        if value < 0:
            raise ValueError(f"{name} {value} must not be negative")


__all__ = ["Muon"]
