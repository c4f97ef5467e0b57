"""Checkpoint files: written atomically, read without running code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from torch import Tensor

from src.errors import UserError, first_line
from src.files import replacing
from src.runtime import file_format


class DamagedCheckpoint(UserError):
    """A checkpoint that is truncated or whose checksum is wrong."""


def write(content: dict[str, Any], path: str | os.PathLike, previous: str | os.PathLike | None = None) -> None:
    """Replaces a file by one that is synced to disk; renames an existing one to `previous`, if given: between the two
    renames only that exists. Raises UserError if the disk is full or the folder is not writable; the old file is then
    unchanged."""
    path = Path(path)
    try:
        with replacing(path) as part:
            with part.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            if previous and path.exists():
                path.replace(previous)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch reports a failed write of its zip file as a RuntimeError whose cause or context is the OSError.
        reason = next((e for e in (error, error.__cause__, error.__context__) if isinstance(e, OSError)), error)
        if not isinstance(reason, OSError) and "write" not in str(reason):
            raise
        older = "; the previous checkpoint is unchanged" if path.exists() else ""
        raise UserError(f"the checkpoint {path} could not be written: {first_line(reason)}{older}") from error


def read(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Loads a checkpoint of this project, and migrates one of an older format.

    Raises:
        DamagedCheckpoint: if the file is truncated or altered.
        UserError: if it is missing, not a checkpoint, or contains anything but tensors and plain values.
    """
    content = load(path, map_location)
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} is not a checkpoint of this project: it has no entry state_dict with tensors")
    return file_format.migrate_checkpoint(content, Path(path))


def load(path: str | os.PathLike, map_location: Any = "cpu", zipped: bool = True) -> Any:
    """Loads what torch has saved, without running code that it may contain; `zipped` refuses the form of torch before
    1.6, which has no checksums. Raises as `read`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path} not found{_others(path)}")
    if (zipped or zipfile.is_zipfile(path)) and (damage := _damage(path)):
        raise DamagedCheckpoint(f"the checkpoint {path} cannot be read: {damage}{_others(path)}")
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the checkpoint {path} is refused: it contains objects other than tensors and plain values, which "
            f"could run code when loaded{_others(path)}"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise DamagedCheckpoint(f"the checkpoint {path} cannot be read: {first_line(error)}{_others(path)}") from error


def check_same_network(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], source: str) -> None:
    """Raises UserError with the first differences in parameter names and shapes, if there are any."""
    lines = differences(own, saved)
    if lines:
        more = f"; and {len(lines) - 6} more" if len(lines) > 6 else ""
        raise UserError(
            f"{source} is of another network than the configured one: {'; '.join(lines[:6])}{more}. Configure "
            "the network that it was saved from, or choose another checkpoint"
        )


def differences(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> list[str]:
    """How the parameters of two networks differ in name or shape, one line each."""
    lines = [f"{name} {tuple(own[name].shape)} is not in the checkpoint" for name in own if name not in saved]
    lines += [f"{name} {tuple(saved[name].shape)} is only in the checkpoint" for name in saved if name not in own]
    lines += [
        f"{name} is {tuple(own[name].shape)} here and {tuple(saved[name].shape)} in the checkpoint"
        for name in own
        if name in saved and own[name].shape != saved[name].shape
    ]
    return lines


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin around `write`, with `previous` among the storage options, and `read`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write(checkpoint, path, **(storage_options or {}))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Loads tensors and plain values only, whatever `weights_only` is."""
        return read(path, map_location or "cpu")


def _sync_folder(folder: Path) -> None:
    """Syncs the renames to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # not supported by some network file systems
        pass
    finally:
        os.close(descriptor)


def _damage(path: Path) -> str | None:
    """What is wrong with a file as a zip archive, the form of torch's checkpoints. torch writes checksums but does
    not compare them: without this check a flipped bit would be a changed weight."""
    if not zipfile.is_zipfile(path):
        return "it is truncated or not a checkpoint"
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        return f"it is damaged ({first_line(error)})"
    return f"it is damaged: the checksum of {broken} is wrong" if broken else None


def _others(path: Path) -> str:
    others = sorted(other.name for other in path.parent.glob("*.ckpt") if other != path)
    return f"; the same folder has {', '.join(others)}" if others else ""
