"""What a study or a sweep began with, kept in its directory, so that all its runs are of the same."""

from __future__ import annotations

from pathlib import Path

import yaml
from filelock import FileLock

from src.errors import UserError
from src.runtime import run_directory


def keep(directory: Path, inputs: dict[str, tuple[str, str]]) -> None:
    """Writes what is not there yet: for each file, its content in YAML, and what the user calls it. Raises UserError if
    the study began with others."""
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".study.lock"):
        for name, (text, given) in inputs.items():
            kept = directory / name
            if kept.is_file() and yaml.safe_load(kept.read_text()) != yaml.safe_load(text):
                raise UserError(
                    f"{given}: this study began with others, see {kept}; restore them, or give another --name for "
                    "a new study"
                )
        for name, (text, _) in inputs.items():
            if not (directory / name).is_file():
                run_directory.write_text(directory / name, text)
