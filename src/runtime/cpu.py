"""How this process computes on a CPU."""

from __future__ import annotations

import ctypes

import torch

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER, _LARGEST = -1, 2**25  # the highest that glibc sets by itself


def configure() -> None:
    """Makes training on a CPU faster, and changes no result by more than 1e-38. To be called before torch starts its
    threads, which take over from the one that starts them.

    Subnormal numbers, below 1e-38, count as zero, as in TensorFlow. The mean square that RMSprop keeps of a weight
    without gradients falls by a tenth a step, so it gets there after 800 steps, and is far slower to compute with: in
    the notebooks' simple network it was 42 % of the weights by step 1,200, and a step took 45 ms instead of 28.

    Memory that was given back stays with the process, in pieces of up to 32 MB. By itself glibc returns it to the
    system, which fills it with zeros when the next step asks for it: in the notebooks' deep network 8,000 pages a step
    in float32. A step without that takes 0.90 to 0.97 of the time. Elsewhere than with glibc nothing is done about it.
    """
    torch.set_flush_denormal(True)
    mallopt = getattr(_libc(), "mallopt", None)
    if mallopt:
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_MMAP_THRESHOLD, _LARGEST)


def _libc() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
