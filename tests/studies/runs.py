"""Directories of runs, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def write_run(
    logs: Path, name: str, config: dict[str, Any], results: dict[str, Any] | None = None, started: str = "2026-01-01"
) -> Path:
    """Writes the files of a run that `recipe/run` names."""
    directory = logs / name
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump({"format_version": 2, **config}))
    (directory / "manifest.json").write_text(json.dumps({"started": started}))
    if results:
        (directory / "results.json").write_text(json.dumps(results))
    return directory


def model(net: str, **arguments: Any) -> dict[str, Any]:
    """The configuration of a network."""
    return {"model": {"net": {"class_path": f"src.models.{net}", "init_args": arguments}}}


def finished(acc: float, **metrics: float) -> dict[str, Any]:
    """The results of a run."""
    fit = {"state": "finished", "epochs": 2, "seconds": 3.5, "last": {"val/acc": 0.1, "val/loss": 2.0}}
    best = {"epoch": 0.0, "step": 5.0, "val/acc": acc}
    return {"fit": {**fit, "best": best}, "test": {"checkpoint": "best.ckpt", "test/acc": acc, **metrics}}
