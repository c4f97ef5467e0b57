"""Checks of a machine: packages, hardware, precision, threads, folders, disk space and memory."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from src.cli.doctor.finding import Note
from src.errors import UserError
from src.runtime.manifest import hardware
from src.runtime.precision import native_precision


def packages(project: Mapping[str, Any], installed: Mapping[str, str]) -> str:
    """Compares the versions of Python and of the packages with pyproject.toml's table `project`."""
    required = [Requirement(f"python{project['requires-python']}"), *map(Requirement, project["dependencies"])]
    wrong = [
        f"{package.name} {installed.get(package.name, '(not installed)')} is not {package.specifier}"
        for package in required
        if not package.specifier.contains(installed.get(package.name, "0"), prereleases=True)
    ]
    if wrong:
        raise UserError(f"{'; '.join(wrong)}. Install the packages as README.md describes")
    return f"Python and {len(required) - 1} packages have the versions that pyproject.toml requires"


def installed() -> dict[str, str]:
    """The versions of Python and of all packages."""
    found = {one.name.lower().replace("_", "-"): one.version for one in metadata.distributions()}
    return {**found, "python": platform.python_version()}


def machine() -> str:
    found, memory = hardware(), available_memory()
    text = f"{platform.node()}: {found['cpu']}, {found['cores']} cores, {', '.join(found['gpus']) or 'no CUDA device'}"
    text += f", {size(memory)} of memory available" if memory else ""
    if not found["gpus"] and shutil.which("nvidia-smi"):
        return Note(f"{text}, but nvidia-smi is installed: run it, and check CUDA_VISIBLE_DEVICES")
    return text


def precision(precision: Any, accelerator: str) -> str:
    """What `auto` becomes, and whether the hardware computes bf16 natively."""
    native = native_precision(accelerator)
    text = f"auto becomes {native}" if precision == "auto" else str(precision)
    if "bf16" in text:
        text += ", which the hardware computes natively" if "bf16" in native else ", which the hardware emulates"
    return text if "emulates" not in text else Note(f"{text}; auto becomes {native}")


def threads(environ: Mapping[str, str], processes: int, each: int, cores: int, on_cpu: bool) -> str:
    """Compares the cores with the threads of a node's processes, `each` as this one has."""
    if processes > 1 and not environ.keys() & {"OMP_NUM_THREADS", "LOCAL_RANK", "SLURM_LOCALID"}:
        each = max(1, cores // processes)  # Lightning starts the processes, and divides the cores
    text = f"{processes} x {each} on {cores} cores"
    advice = f"set OMP_NUM_THREADS={max(1, cores // processes)}"
    if processes * each > cores:
        return Note(f"{text}, which are too few; {advice}")
    if on_cpu and 2 * processes * each < cores:  # torch leaves every second logical core idle
        return Note(f"{text}, of which the others are idle; {advice}")
    return text


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
