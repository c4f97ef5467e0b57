"""Flattening of pictures that lie channels last."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Flatten(nn.Flatten):
    """What `torch.nn.Flatten` computes, with gradients that lie in memory as the pictures do.

    Flattening channels-last pictures copies them, channels first. torch hands the gradients back channels first, too,
    and each layer down to the last convolution then reads its pictures in one order and their gradients in the other.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.requires_grad and input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last):
            input.register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))
        return super().forward(input)
