"""The version of the format of config.yaml and of checkpoints, and the migration of older files.

Whoever renames a class or an argument that these files contain raises FORMAT_VERSION and adds a migration with a test.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from src.errors import UserError

FORMAT_VERSION = 2
ENTRY = "format_version"


def read_config(path: Path) -> dict[str, Any]:
    """A config.yaml in the current format."""
    # libyaml's loader takes 0.7 ms, the one in Python 5.5 ms.
    return migrate_config(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)), path)


def migrate_config(config: dict[str, Any], source: object) -> dict[str, Any]:
    """A configuration in the current format. One without a version is of version 1, or a recipe: what a migration
    does not find, it leaves as it is. Raises UserError, with the name of the source, if it was written by a newer
    version of this project, or a part of it no longer exists."""
    for version in _versions(config, source):
        config = _CONFIG_MIGRATIONS[version](config, source)
    return {ENTRY: FORMAT_VERSION, **{key: value for key, value in config.items() if key != ENTRY}}


def migrate_checkpoint(checkpoint: dict[str, Any], source: object) -> dict[str, Any]:
    """A checkpoint in the current format. One that this project did not write (no `config`) keeps its content.
    Raises as `migrate_config`."""
    for version in _versions(checkpoint, source):
        checkpoint = _CHECKPOINT_MIGRATIONS[version](checkpoint)
    if config := checkpoint.get("config"):
        checkpoint["config"] = migrate_config(config, source)
    return checkpoint


def _versions(content: dict[str, Any], source: object) -> Iterable[int]:
    """The versions from which to migrate, one after another."""
    version = content.get(ENTRY, 1)
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise UserError(
            f"{source} has {ENTRY} {version}, and this version of the project reads 1 to {FORMAT_VERSION}; use the "
            "version of the project that wrote it"
        )
    return range(version, FORMAT_VERSION)


# Version 1 to 2: every file was moved into the folder of its layer. The longest prefix decides.

_CLASS_PATHS_1 = {
    "src.augment.": "src.data.augment.",
    "src.callbacks.checkpoints.Checkpoints": "src.runtime.run_checkpoints.RunCheckpoints",
    "src.callbacks.confusion.": "src.callbacks.",
    "src.callbacks.predictions.Predictions": "src.callbacks.PredictionWriter",
    "src.data.folder.": "src.data.",
    "src.nets.": "src.models.",
    "src.nets.speed.": "src.models.",
    "src.nets.Views": "src.models.TestTimeAugmentation",
    "src.nets.views.Views": "src.models.TestTimeAugmentation",
    "src.rmsprop.": "torch.optim.",
    "src.schedule.": "src.optim.",
}
_ARGUMENTS_1 = {"picture_seed": "image_seed", "normalise": "normalize"}
_REMOVED_1 = ("CIFARResNet18", "Records", "Summary")
_PERIODS_1 = {"checkpoint_every_n_steps": "every_n_steps", "checkpoint_every_n_minutes": "every_n_minutes"}


def _migrate_config_1(config: dict[str, Any], source: object) -> dict[str, Any]:
    config = _migrate_values_1(config, source)
    trainer = config.get("trainer") or {}
    periods = {new: trainer.pop(old) for old, new in _PERIODS_1.items() if old in trainer}
    if any(periods.values()):
        path = "src.runtime.run_checkpoints.RunCheckpoints"
        trainer["default_callbacks"] = {"checkpoints": {"class_path": path, "init_args": periods}}
    return config


def _migrate_values_1(value: Any, source: object) -> Any:
    if isinstance(value, dict):
        return {_ARGUMENTS_1.get(key, key): _migrate_values_1(item, source) for key, item in value.items()}
    if isinstance(value, list):
        return [_migrate_values_1(item, source) for item in value]
    return _migrate_class_path_1(value, source) if isinstance(value, str) and value.startswith("src.") else value


def _migrate_class_path_1(class_path: str, source: object) -> str:
    if class_path.startswith(("src.nets.", "src.callbacks.")) and class_path.rpartition(".")[2] in _REMOVED_1:
        raise UserError(
            f"{source} uses {class_path}, which no longer exists in this form; use the version of the project that "
            "wrote the file, or change it by hand"
        )
    prefix = max((prefix for prefix in _CLASS_PATHS_1 if class_path.startswith(prefix)), key=len, default="")
    return _CLASS_PATHS_1.get(prefix, "") + class_path.removeprefix(prefix)


def _migrate_checkpoint_1(checkpoint: dict[str, Any]) -> dict[str, Any]:
    callbacks = checkpoint.get("callbacks", {})
    if "Checkpoints" in callbacks:
        callbacks["RunCheckpoints"] = callbacks.pop("Checkpoints")
    if average := checkpoint.pop("ema", None):
        import torch  # which the table of runs reads configurations without

        checkpoint["current_model_state"] = average["state_dict"]
        checkpoint["averaging_state"] = {"n_averaged": torch.tensor(average["steps"] + 1)}
        callbacks["EMA"] = {"latest_update_step": checkpoint["global_step"]}
    return checkpoint


_CONFIG_MIGRATIONS = {1: _migrate_config_1}
_CHECKPOINT_MIGRATIONS = {1: _migrate_checkpoint_1}
