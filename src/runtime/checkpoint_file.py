"""Checkpoint files: written so that they are whole or not there, read so that they cannot run code."""

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

from src.errors import UserError


class Damaged(UserError):
    """A file that was whole once, or should have been."""


def write(content: dict[str, Any], path: str | os.PathLike, previous: str | os.PathLike | None = None) -> None:
    """Saves beside `path`, brings it to the disk, and renames: whoever kills this finds the old file or the
    new one, never a part.

    Args:
        content: what to save.
        path: the file.
        previous: what the file that `path` was before is to be called. Between the two renames there is only that.

    Raises:
        UserError: if the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = Path(path)
    # One name for all: what a killed process left is overwritten by the next.
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            if previous and path.exists():
                path.replace(previous)
            beside.replace(path)
            _sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        # torch reports a failed write of its zip file as a RuntimeError, with the OSError behind it.
        reason = next((e for e in (error, error.__cause__, error.__context__) if isinstance(e, OSError)), error)
        if not isinstance(reason, OSError) and "write" not in str(reason):
            raise
        older = "; the one before it is untouched" if path.exists() else ""
        raise UserError(f"the checkpoint {path} could not be written: {_text(reason)}{older}") from error


def read(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Loads a checkpoint without running code that it may contain.

    Raises:
        Damaged: if the file is cut short or altered.
        UserError: if it is missing, no checkpoint, or holds anything but plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}{_beside(path)}")
    damage = _damage(path)
    if damage:
        raise Damaged(f"the checkpoint {path} cannot be read: {damage}{_beside(path)}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the checkpoint {path} is refused: it holds something other than tensors and plain values, which "
            f"could run code when loaded{_beside(path)}"
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise Damaged(f"the checkpoint {path} cannot be read: {_text(error)}{_beside(path)}") from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} is no checkpoint of this project: it has no entry state_dict with tensors")
    return content


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


def check_same_network(own: Mapping[str, Tensor], saved: Mapping[str, Tensor], source: str) -> None:
    """Raises UserError with the first differences, if there are any."""
    lines = differences(own, saved)
    if lines:
        more = f"; and {len(lines) - 6} more" if len(lines) > 6 else ""
        raise UserError(
            f"{source} is of another network than the configured one: {'; '.join(lines[:6])}{more}. Configure "
            "the network that it was saved from, or choose another checkpoint"
        )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Gives Lightning `write`, with its `previous` among the storage options, and `read`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves a checkpoint whole or not at all."""
        write(checkpoint, path, **(storage_options or {}))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Loads tensors and plain values only, whatever `weights_only` says."""
        return read(path, map_location or "cpu")


def _sync_folder(folder: Path) -> None:
    """Brings the new names to the disk as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems know no such thing
        pass
    finally:
        os.close(descriptor)


def _damage(path: Path) -> str | None:
    """What is wrong with a file as a zip archive, which torch's checkpoints are. torch itself writes the sums
    but never compares them: without this a flipped bit would be a changed weight."""
    if not zipfile.is_zipfile(path):
        return "it was cut short or is no checkpoint"
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
        return f"it is damaged ({_text(error)})"
    return f"it is damaged: the checksum of {broken} is wrong" if broken else None


def _text(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def _beside(path: Path) -> str:
    others = sorted(other.name for other in path.parent.glob("*.ckpt") if other != path)
    return f"; beside it lie {', '.join(others)}" if others else ""
