"""TensorBoard's page TEXT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningModule, Trainer

from src.callbacks.display_only import display_only
from src.callbacks.tensorboard import summary_writer

# What the page shows of manifest.json.
FACTS = ("started", "command", "git", "seed", "python", "packages", "hardware", "precision", "processes")


class RunText(Callback):
    """Shows texts on TensorBoard's page TEXT: the configuration and a short manifest when training starts, the metrics
    and report.md, if the run has one, when a test ends."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        config, manifest = getattr(pl_module, "config", None), Path(trainer.default_root_dir) / "manifest.json"
        with display_only("the page TEXT"):
            if config:
                ordered = dict(sorted(config.items()))  # the longest part, trainer, last
                _add(trainer, "run/config", f"```yaml\n{yaml.safe_dump(ordered, sort_keys=False)}```")
            if manifest.is_file():
                content = json.loads(manifest.read_text())
                _add(trainer, "run/manifest", _table({name: content[name] for name in FACTS if name in content}))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics  # reduced over all ranks, so all of them read it
        report = Path(trainer.default_root_dir) / "report.md"
        with display_only("the page TEXT"):
            _add(trainer, "test/metrics", _table({name: f"{float(value):.4f}" for name, value in metrics.items()}))
            if report.is_file():
                _add(trainer, "test/report", report.read_text())


def _add(trainer: Trainer, tag: str, markdown: str) -> None:
    if writer := summary_writer(trainer):
        writer.add_text(tag, markdown, trainer.global_step)


def _table(facts: Mapping[str, Any]) -> str:
    """A Markdown table of names and values; of nested values one row each."""
    rows = [("", "")]
    for name, value in facts.items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {key}".strip(), str(own).replace("|", "\\|")) for key, own in nested]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([lines[0], "| --- | --- |", *lines[1:]])
