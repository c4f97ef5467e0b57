"""manifest.json: what a run ran on, so that its result can be reproduced. The changes of the code since its commit are
next to it, as code-<checksum>.patch.gz."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from src.data import ImageDataModule
from src.runtime import resume, run_directory
from src.runtime.code_state import code_state, imported_files, module_folders

PROJECT = Path(__file__).parents[2]
PACKAGES = ("lightning", "torch", "torchvision", "torchmetrics", "tensorboard", "jsonargparse", "numpy")


class RunManifest(Callback):
    """Writes manifest.json when a fit starts: command, commit and diff, packages, hardware, checksums of the data,
    seed. A resumed run adds the same of the resume, and prints what differs."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if not trainer.is_global_zero or data is None:
            return
        own = isinstance(data, ImageDataModule)
        state, patch = code_state(PROJECT, imported_files())
        content = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join([Path(sys.executable).name, "-m", "src", *sys.argv[1:]]),
            "seed": data.seed if own else None,
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "hardware": hardware(),
            "data": data.describe() if own else {},
            "git": state,
            "module_folders": module_folders(PROJECT),
            "precision": str(trainer.precision),
            "processes": trainer.world_size,
        }
        if patch:
            packed = gzip.compress(patch.encode(), mtime=0)
            content["patch"] = f"code-{hashlib.sha256(packed).hexdigest()[:8]}.patch.gz"
            Path(trainer.default_root_dir, content["patch"]).write_bytes(packed)
        path = Path(trainer.default_root_dir) / run_directory.MANIFEST
        if trainer.ckpt_path and path.is_file():
            started = json.loads(path.read_text())
            for line in resume.differences(started, content):
                print(f"differs from the start of the run: {line}", flush=True)
            content = {**started, "resumed": [*started.get("resumed", []), content]}
        run_directory.write_text(path, json.dumps(content, indent=2) + "\n")


def add_module_folders(directory: Path) -> None:
    """Makes the user's own modules that a run was started with importable, from whatever folder it is resumed or
    evaluated. What the current folder or PYTHONPATH has comes first."""
    path = directory / run_directory.MANIFEST
    folders = json.loads(path.read_text()).get("module_folders", []) if path.is_file() else []
    sys.path.extend(folder for folder in folders if folder not in sys.path)


def hardware() -> dict[str, Any]:
    """Processor with the largest vectors that torch uses on it, such as AVX2, its cores, threads and GPUs."""
    name = torch.cpu.get_capabilities().get("cpu_name", platform.processor())
    return {
        "machine": platform.machine(),
        "cpu": f"{name} ({torch.backends.cpu.get_cpu_capability()})",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
