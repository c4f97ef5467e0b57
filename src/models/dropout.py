"""Dropout that draws a byte a number."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Sets each number to zero with probability `p` in training and scales the rest by 1 / (1 - p).

    What `torch.nn.Dropout` computes; on a CPU its random numbers, one `bernoulli_` each, took 23 % of a
    training step of the notebooks' deep network. Where `p` is a multiple of 1/256, eight of them come out
    of one 64-bit draw instead. Elsewhere, and on other devices, this is `torch.nn.Dropout`.
    """

    def forward(self, input: Tensor) -> Tensor:
        threshold = self.p * 256
        if not self.training or input.device.type != "cpu" or threshold % 1 or not 0 < self.p < 1:
            return super().forward(input)
        words = torch.empty((input.numel() + 7) // 8, dtype=torch.int64)
        words.random_(-(2**63), None)
        kept = words.view(torch.uint8)[: input.numel()] >= int(threshold)
        # Dense tensors are numbered as they lie in memory, so channels-last stays channels-last.
        kept = kept.as_strided(input.shape, input.stride()) if _is_dense(input) else kept.view(input.shape)
        return input * (kept.to(input.dtype) * (1 / (1 - self.p)))


def _is_dense(input: Tensor) -> bool:
    return input.is_contiguous() or (input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last))
