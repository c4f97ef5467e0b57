"""Checks of a machine: hardware, precision, folders, disk space and memory."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from src.cli.doctor.finding import Note
from src.errors import UserError
from src.runtime.job import Job, check_visible_gpus
from src.runtime.manifest import hardware
from src.runtime.precision import native_precision


def machine() -> str:
    found, memory = hardware(), available_memory()
    text = f"{platform.node()}: {found['cpu']}, {found['cores']} cores, {', '.join(_gpus()) or 'no CUDA device'}"
    text += f", {size(memory)} of memory available" if memory else ""
    if not found["gpus"] and shutil.which("nvidia-smi"):
        return Note(f"{text}, but nvidia-smi is installed: run it, and check CUDA_VISIBLE_DEVICES")
    return text


def _gpus() -> list[str]:
    """Each card with its memory, and the driver."""
    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = [f"{card.name} ({size(card.total_memory)})" for card in cards]
    if names and shutil.which("nvidia-smi"):  # torch does not know the version of the driver
        query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        names += [f"driver {line}" for line in subprocess.run(query, capture_output=True, text=True).stdout.split()[:1]]
    return names


def precision(precision: Any, accelerator: str) -> str:
    """What `auto` becomes, and whether the hardware computes bf16 natively."""
    native = native_precision(accelerator)
    text = f"auto becomes {native}" if precision == "auto" else str(precision)
    if "bf16" in text:
        text += ", which the hardware computes natively" if "bf16" in native else ", which the hardware emulates"
    return text if "emulates" not in text else Note(f"{text}; auto becomes {native}")


def processes(
    devices: object, num_nodes: int | None, accelerator: object = "auto", environ: Mapping[str, str] = os.environ
) -> str:
    """Compares the processes that are started with those that the trainer expects."""
    job = Job.of(environ)
    job.trainer_devices(devices, num_nodes, environ)
    check_visible_gpus(job, accelerator)
    if job.launcher != "Lightning":
        return f"{job.started}, as the trainer expects"
    if "LOCAL_RANK" in environ:
        return Note("Lightning starts none, since LOCAL_RANK is set; unset it if nothing else starts them")
    return "Lightning starts them"


def writable(folder: Path, argument: str) -> str:
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise UserError(f"{folder} is not writable: {existing}: {error.strerror}; set another {argument}") from error
    return f"{folder} is writable" + ("" if existing == folder else f", to be created in {existing}")


def disk(folder: Path, needed: int, purpose: str) -> str:
    free = shutil.disk_usage(_existing(folder)).free
    text = f"{size(needed)} needed in {folder} for {purpose}, {size(free)} free"
    if needed >= free:
        raise UserError(f"{text}; free some space, or use another folder")
    return text


def memory(needed: int, processes: int, available: int | None) -> str:
    """Compares the memory with the dataset in the other processes of a node; this one holds it already."""
    text = f"{size(needed)} for the dataset in each of {processes} processes per node"
    if available is None:
        return Note(f"{text}; the available memory is unknown")
    text += f", {size(available)} available in addition to this process"
    if needed * (processes - 1) >= available:
        raise UserError(f"{text}; start fewer processes per node, or request more memory")
    return text


def available_memory(meminfo: Path = Path("/proc/meminfo"), environ: Mapping[str, str] = os.environ) -> int | None:
    """Bytes, at most the limit of a SLURM job; None where they are unknown, as outside Linux."""
    if not meminfo.exists():
        return None
    entries = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    available = int(entries["MemAvailable"].split()[0]) * 1024
    return min(available, int(environ.get("SLURM_MEM_PER_NODE", 0)) * 2**20 or available)


def size(count: int) -> str:
    """Bytes as MB or GB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
