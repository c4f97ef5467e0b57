"""The precision that the hardware computes natively."""

from __future__ import annotations

from typing import Any, Literal

import torch


def on_gpu(accelerator: Any = "auto") -> bool:
    """Whether an accelerator argument means CUDA on this machine."""
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


def native_precision(accelerator: Any = "auto") -> Literal["bf16-mixed", "32-true"]:
    """bf16-mixed where the hardware computes bf16 natively, else 32-true.

    Natively: on a GPU from compute capability 8.0 (Ampere) on, on a CPU with AMX or AVX512-BF16.
    """
    if on_gpu(accelerator):
        native = torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return "bf16-mixed" if native else "32-true"
