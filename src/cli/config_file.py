"""YAML configuration files, read before jsonargparse does: it does not name the file of an error."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from src.callbacks.hyperparameter_logger import flatten
from src.errors import UserError
from src.runtime import file_format


class _Loader(yaml.SafeLoader):
    """Raises for a key that is given twice, of which YAML takes the last without a warning, or that is no text or
    number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or a mapping", key.start_mark)
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
    except RecursionError:
        raise UserError(f"{path} is not a configuration: it is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a configuration: it must be a mapping with keys such as model and data")
    return content


# Arguments that follow from others, for which jsonargparse ignores a given value.
_LINKED = {
    "data.init_args.seed": "is taken from seed_everything; set that",
    "data.seed": "is taken from seed_everything; set that",
    "model.num_classes": "is taken from the data",
    "model.multi_label": "is taken from the data",
}
# Those that are read before the files.
_EARLY = {"resume": "belongs on the command line", "run": "belongs on the command line"}
_PART = {"class_path", "init_args", "dict_kwargs"}


def resolve(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments with each configuration file as `--config=FILE`, or its content where that is of an older format;
    and the names of these files.

    Raises:
        UserError: if a file is not YAML, or of a format that cannot be migrated, or if an argument has no effect.
    """
    resolved: list[str] = []
    paths: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        key, _, value = argument.removeprefix("--").partition("=")
        if key in _LINKED:
            raise UserError(f"{key} {_LINKED[key]}")
        if argument in ("-c", "--config"):
            value = next(rest, "")
        elif argument.startswith("-c"):
            value = argument[2:].removeprefix("=")
        elif key != "config":
            resolved.append(argument)
            continue
        if not value:
            raise UserError("--config needs a file")
        paths.append(os.path.expanduser(value))
        resolved.append(f"--config={_in_current_format(paths[-1])}")
    return resolved, paths


def names_given(arguments: list[str]) -> set[str]:
    """The keys that resolved arguments set, those of their files included, without `init_args`."""
    names: set[str] = set()
    for argument in arguments:
        key, _, value = argument.removeprefix("--").partition("=")
        if key == "config":
            # Path.is_file raises for a text that is too long for a path.
            content = yaml.safe_load(Path(value).read_text() if os.path.isfile(value) else value)
            names |= flatten(content).keys() if isinstance(content, dict) else set()
        elif argument.startswith("--"):
            names.add(key.removesuffix("+").replace(".init_args.", ".").replace(".dict_kwargs.", "."))
    return names


def _in_current_format(path: str) -> str:
    if not os.path.isfile(path):  # jsonargparse reports it
        return path
    content = read(Path(path))
    contains_itself = True
    with contextlib.suppress(RecursionError):  # which would count as a fault, as the context of another error, too
        _check(path, "", content)
        contains_itself = False
    if contains_itself:
        raise UserError(f"{path} is not a configuration: a value in it contains itself")
    current = _without_empty(file_format.migrate_config(content, path))
    same = current == {file_format.ENTRY: file_format.FORMAT_VERSION, **content}
    return path if same else yaml.safe_dump(current)


def _without_empty(config: Any, key: str = "") -> Any:
    """Without the mappings of arguments that have none, as where all their lines are comments."""
    if isinstance(config, dict):
        return {
            name: _without_empty(value, f"{key}.{name}")
            for name, value in config.items()
            if value is not None or not (f"{key}.{name}" in (".trainer", ".model") or name in _PART)
        }
    return [_without_empty(item, key) for item in config] if isinstance(config, list) else config


def _check(path: str, key: str, value: Any) -> None:
    """Raises UserError for what jsonargparse ignores or reports in other words."""
    if value is not None and (advice := (_LINKED | _EARLY).get(key)):
        raise UserError(f"{path}: {key} {advice}")
    mapping = isinstance(value, dict) or value is None or (isinstance(value, str) and os.path.isfile(value))
    if (key in ("trainer", "model") or key.endswith(".init_args")) and not mapping:
        raise UserError(f"{path}: {key} must be a mapping of arguments, not {value}")
    if isinstance(value, dict):
        if value.keys() & {"class_path", "init_args"} and (wrong := [name for name in value if name not in _PART]):
            raise UserError(f"{path}: {key} has {', '.join(wrong)} next to class_path; arguments belong into init_args")
        arguments = key in ("", "trainer", "model") or key.endswith(".init_args")
        for name, item in value.items():
            if arguments and not isinstance(name, str):
                raise UserError(f"{path}: {key or 'the file'} has the key {name}, which is not the name of an argument")
            _check(path, f"{key}.{name}".removeprefix("."), item)
    for item in value if isinstance(value, list) else ():
        _check(path, key, item)


def expand_home(value: Any) -> Any:
    """A parsed configuration with the home folder in place of a `~` at the start of a text."""
    if isinstance(value, str):
        return os.path.expanduser(value)
    if isinstance(value, list):
        return [expand_home(item) for item in value]
    if isinstance(value, Namespace):
        return Namespace({key: expand_home(item) for key, item in vars(value).items()})
    return value
