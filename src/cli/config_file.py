"""YAML configuration files, read before jsonargparse does: it does not name the file of an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from src.errors import UserError
from src.runtime import file_format


class _Loader(yaml.SafeLoader):
    """Raises for a key that is given twice, of which YAML takes the last without a warning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """Raises UserError with file, line and reason if a file is not a YAML mapping."""
    try:
        content = yaml.load(path.read_text(), _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or error
        raise UserError(f"{path}{where} is not YAML: {reason}. Check brackets, quotes and indentation there") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a configuration: it must be a mapping with keys such as model and data")
    return content


def migrate(arguments: list[str], paths: list[str]) -> list[str]:
    """Checks the configuration files among the arguments, and replaces one of an older format by its migrated content.

    Raises:
        UserError: if a file is not YAML, or of a format that cannot be migrated.
    """
    replaced: dict[str, str] = {}
    for path in paths:
        if not Path(path).is_file():  # jsonargparse reports it
            continue
        content = read(Path(path))
        migrated = file_format.migrate_config(content, path)
        if migrated != {file_format.ENTRY: file_format.FORMAT_VERSION, **content}:
            replaced[path] = yaml.safe_dump(migrated)
            replaced[f"--config={path}"] = f"--config={replaced[path]}"
    return [replaced.get(argument, argument) for argument in arguments]
