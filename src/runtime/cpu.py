"""Settings of the CPU."""

from __future__ import annotations

import ctypes

import torch

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER, _LARGEST = -1, 2**25  # the highest value that glibc sets automatically


def configure() -> None:
    """Makes training on a CPU faster, and changes no result by more than 1e-38. Called before torch starts its
    threads, which inherit the settings of the thread that starts them.

    Subnormal numbers, below 1e-38, are flushed to zero, as in TensorFlow. RMSprop's mean square of a weight without
    gradients decays by a tenth per step, so it is subnormal after 800 steps and far slower to compute with: in the
    notebooks' simple network that were 42 % of the weights by step 1,200, and a step took 45 ms instead of 28.

    Freed memory stays with the process, in blocks of up to 32 MB. By default glibc returns it to the system, which
    zeroes it when the next step allocates it: in the notebooks' deep network 8,000 pages per step in float32. A step
    without that takes 0.90 to 0.97 of the time. Other C libraries are left as they are.
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
