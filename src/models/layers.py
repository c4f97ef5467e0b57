"""The layers of a network in their order, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def layers(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each layer by its name, from the input to the head, in the order in which modules define them.

    A layer is a module of a Sequential or ModuleList, or of the network itself; what has more than half of the
    parameters is divided, too. One with vectors alone, such as a norm, belongs to the layer before it, and a parameter
    of a divided module, such as a class token, to the first.
    """
    half = sum(parameter.numel() for parameter in net.parameters()) / 2
    found: dict[str, list[nn.Parameter]] = {}
    rest = dict.fromkeys(net.parameters())
    for name, module in _undivided(net, "", half):
        own = [parameter for parameter in module.parameters() if parameter in rest]
        is_vectors = all(parameter.dim() < 2 for parameter in own)
        last = next(reversed(found), name)
        found.setdefault(last if is_vectors else name, []).extend(own)
        rest = {parameter: None for parameter in rest if parameter not in set(own)}
    found = {name: parameters for name, parameters in found.items() if parameters}
    found.setdefault(next(iter(found), ""), []).extend(rest)
    return found


def _undivided(module: nn.Module, prefix: str, half: float) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        is_large = sum(parameter.numel() for parameter in child.parameters()) > half
        if (is_large or isinstance(child, nn.Sequential | nn.ModuleList)) and any(child.children()):
            yield from _undivided(child, f"{prefix}{name}.", half)
        else:
            yield f"{prefix}{name}", child


def multiply_adds(forward: Callable[[Tensor], object], images_BCHW: Tensor) -> int | None:
    """Those of the convolutions and matrix products for one image; None if the operations of the network are unknown.

    Args:
        forward: a network, or a function that calls it.
        images_BCHW: for which it is called.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(images_BCHW)
    return counter.get_total_flops() // (2 * len(images_BCHW)) or None
