"""What the report says about the network, its training and its data, as rows of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import nn

from src.callbacks.report.network import Cost
from src.data import ImageDataModule
from src.data.datamodule import Subset

Rows = dict[str, str]


def model(trainer: Trainer, module: LightningModule, cost: Cost | None) -> Rows:
    """Network, size and cost."""
    net = getattr(module, "net", module)
    parameters = list(module.parameters())
    stored = sum(tensor.nbytes for tensor in [*parameters, *module.buffers()])
    path, directory = Path(trainer.ckpt_path or ""), Path(trainer.default_root_dir)
    rows = {
        "network": _network_name(net),
        "parameters": f"{sum(tensor.numel() for tensor in parameters):,}",
        "size of the weights": f"{stored / 1e6:.1f} MB",
        "weights": str(path.relative_to(directory) if path.is_relative_to(directory) else path.name) or "in memory",
    }
    if cost is None:
        return rows
    known = f"{cost.multiply_adds / 1e6:,.1f} million" if cost.multiply_adds else "not known"
    device = torch.cuda.get_device_name(module.device) if module.device.type == "cuda" else str(module.device)
    conditions = f"on {device}, {trainer.precision}, batches of {cost.batch_size}"
    speed = f"{_two_digits(cost.images_per_second):,} images/s {conditions}"
    return rows | {"multiply-adds per image": known, "speed (measured, varies)": speed}


def training(trainer: Trainer, module: LightningModule) -> Rows:
    """Recipe, duration, hardware and versions, from the files of the run; without those that are missing."""
    directory = Path(trainer.default_root_dir)
    manifest, fit = _read(directory / "manifest.json"), _read(directory / "results.json").get("fit", {})
    hardware, git = manifest.get("hardware", {}), manifest.get("git") or {}
    rows = {
        "started": manifest.get("started"),
        "command": manifest.get("command"),
        "seed": manifest.get("seed"),
        "epochs, steps": f"{fit['epochs']}, {fit['steps']:,}" if {"epochs", "steps"} <= fit.keys() else None,
        "time of training": f"{fit['seconds']:,.0f} s" if "seconds" in fit else None,
        "validation accuracy of the best weights": fit.get("best", {}).get("val/acc"),
        "validation mean average precision of the best weights": fit.get("best", {}).get("val/map"),
        "precision": manifest.get("precision"),
        "processes": manifest.get("processes"),
        "hardware": ", ".join([*hardware.get("gpus", []), f"{hardware['cpu']}, {hardware['cores']} cores"])
        if hardware
        else None,
        "SHA-256 of the data": manifest.get("data", {}).get("train", {}).get("sha256"),
        "packages": ", ".join(f"{name} {version}" for name, version in manifest.get("packages", {}).items()),
        "commit": git.get("commit") if isinstance(git, dict) else git,
    }
    return {name: str(value) for name, value in rows.items() if value not in (None, "")}


def data(datamodule: ImageDataModule) -> Rows:
    """Sizes, split, augmentation and normalization; of the training set only if it has been read."""
    rows = {"dataset": _class_path(datamodule), "test set": _size(datamodule, "test")}
    if hasattr(datamodule, "val_indices"):
        rows["training set"] = _size(datamodule, "train")
        fold = f"fold {datamodule.fold} of {datamodule.folds}"
        how = fold if datamodule.folds else f"{datamodule.split} split"
        rows["of it for validation"] = f"{len(datamodule.val_indices):,} ({how})"
    rows["augmentation"] = ", ".join(type(one).__name__ for one in datamodule.augment) or "none"
    rows["normalization"] = datamodule.normalize
    return rows


def _size(datamodule: ImageDataModule, subset: Subset) -> str:
    number, height, width, channels = datamodule.image_set(subset).images_NHWC.shape
    return f"{number:,} images of {height} x {width} pixels with {channels} channel{'s' * (channels > 1)}"


def _network_name(net: nn.Module) -> str:
    """Its class, and that of the network which it wraps."""
    inner = getattr(net, "net", None)
    return _class_path(net) + (f" of {_network_name(inner)}" if isinstance(inner, nn.Module) else "")


def _class_path(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _two_digits(value: float) -> int:
    return int(float(f"{value:.1e}"))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}
