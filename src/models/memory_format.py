"""The convolutions for which channels-last memory format is unsafe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def keep_contiguous(net: nn.Module) -> list[str]:
    """Keeps the convolutions contiguous that corrupt memory in channels-last; returns their names.

    On a CPU, oneDNN 3.13 computes the weight gradient of a 1x1 convolution with a stride and few input channels (2 to 7
    with AVX2, below 16 with AVX-512) past the end of its buffer if input or weight are channels-last: a crash, or wrong
    gradients (https://github.com/uxlfoundation/oneDNN/issues/6035; test_memory_format.py tells when it is fixed).
    """
    unsafe = {name: module for name, module in net.named_modules() if _is_unsafe(module)}
    for module in unsafe.values():
        module.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        module.register_forward_pre_hook(_contiguous_on_cpu)
    return list(unsafe)


def _is_unsafe(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.groups == 1
        and 2 <= module.in_channels < 16
    )


def _contiguous_on_cpu(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.contiguous() if isinstance(one, Tensor) and one.device.type == "cpu" else one for one in args)
