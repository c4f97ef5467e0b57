"""What this machine has to give: devices, memory, the speed of bf16, writable folders."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch


def devices(cores: int) -> dict[str, int]:
    """How many of each kind of device there are, the fastest kind first; a process a core is sensible on a CPU."""
    return {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": cores}


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can still be had, of the machine or, where that is less, of the job's or container's share; none
    where the system does not tell as Linux does."""
    try:
        entries = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        left = [int(entries["MemAvailable"].split()[0]) * 1024]
        own = cgroups / (proc / "self/cgroup").read_text().rpartition("0::/")[2].strip()
    except (OSError, KeyError):
        return None
    for folder in [own, *own.parents][: len(own.parts) - len(cgroups.parts) + 1]:
        try:
            limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
            kept = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:  # the root of the tree has no limit
            continue
        if limit != "max":  # what the system keeps of files that were read, it gives back
            left.append(int(limit) - int(used) + int(kept.get("inactive_file", 0)))
    return max(0, min(left))


def bf16_speedup(device: torch.device, side: int | None = None) -> float:
    """How many times as fast as in float32 two square matrices are multiplied in bf16, the best of five each."""
    side = side or (4096 if device.type == "cuda" else 768)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(side, side, dtype=dtype, device=device)
        times = []
        for _ in range(6):  # the first sets up
            began = time.perf_counter()
            (matrix @ matrix)[0, 0].item()  # which waits for a GPU
            times.append(time.perf_counter() - began)
        seconds[dtype] = min(times[1:])
    return seconds[torch.float32] / seconds[torch.bfloat16]


def existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def try_to_write(folder: Path) -> None:
    """Writes a file into a folder that takes it away again; raises the OSError that a run would meet there."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
