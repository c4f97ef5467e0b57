"""RMSprop that goes through large weights in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PIECE = 2**18  # numbers, 1 MB: memory of this size is reused, that of whole weights is fetched from the system anew
_MORE = ("momentum", "centered", "weight_decay", "maximize", "capturable", "differentiable", "foreach")


class RMSprop(torch.optim.RMSprop):
    """`torch.optim.RMSprop` with its arguments and its numbers to the bit, made for a CPU.

    There the root of the mean square, as large as the weights, took 17 % of a training step of the notebooks' simple
    network: not the arithmetic, but 17 MB that are taken from the system and given back each time. In pieces, an
    optimizer step takes 0.8 of the time. With momentum, weight decay and the like, and on other devices, this is
    torch's own step.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moves each parameter that has a gradient."""
        if not all(_is_plain(group) for group in self.param_groups):
            return super().step(closure)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        self._move(param, param.grad, group)
        return loss

    def _move(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["square_avg"] = torch.zeros_like(param)
        state["step"] += 1
        alpha, eps, lr = group["alpha"], group["eps"], group["lr"]
        for part, slope, square in zip(_pieces(param), _pieces(grad), _pieces(state["square_avg"]), strict=True):
            square.mul_(alpha).addcmul_(slope, slope, value=1 - alpha)
            part.addcdiv_(slope, square.sqrt().add_(eps), value=-lr)


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of some rows each."""
    if tensor.numel() <= PIECE:
        return (tensor,)
    return tensor.split(max(1, PIECE * len(tensor) // tensor.numel()))


def _is_plain(group: dict[str, Any]) -> bool:
    return not (any(group[name] for name in _MORE) or isinstance(group["lr"], Tensor)) and all(
        param.device.type == "cpu" and not param.is_complex() for param in group["params"]
    )


__all__ = ["RMSprop"]
