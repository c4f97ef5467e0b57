"""manifest.json: what a run ran on, so that its result can be reproduced."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from src.runtime import resume, run_directory

PACKAGES = ("lightning", "torch", "torchvision", "torchmetrics", "tensorboard", "jsonargparse", "numpy")


class RunManifest(Callback):
    """Writes manifest.json when a fit starts: command, commit and diff, packages, hardware, checksums of the data,
    seed. A resumed run adds the same of the resume, and prints what differs."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if not trainer.is_global_zero or data is None:
            return
        content = collect(data.seed, data.describe())
        content["precision"] = str(trainer.precision)
        content["processes"] = trainer.world_size
        path = Path(trainer.default_root_dir) / run_directory.MANIFEST
        if trainer.ckpt_path and path.is_file():
            started = json.loads(path.read_text())
            for line in resume.differences(started, content):
                print(f"differs from the start of the run: {line}", flush=True)
            content = {**started, "resumed": [*started.get("resumed", []), content]}
        run_directory.write_text(path, json.dumps(content, indent=2) + "\n")


def collect(seed: int, data: dict[str, Any]) -> dict[str, Any]:
    """Everything that is known when a run starts.

    Args:
        seed: of all random numbers.
        data: the data module's description of the data.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.executable).name, "-m", "src", *sys.argv[1:]]),
        "seed": seed,
        "git": git_state(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "hardware": hardware(),
        "data": data,
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit, and the hash of the uncommitted diff; None outside a repository."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout

    try:
        commit = git("rev-parse", "HEAD").decode().strip()
        diff = git("diff", "HEAD", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None}


def hardware() -> dict[str, Any]:
    """Processor, cores, threads and GPUs."""
    return {
        "machine": platform.machine(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
