"""A command-line parser whose errors are one paragraph."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from weakref import WeakSet

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from src.errors import UserError

# What jsonargparse says of its own types around the one line that helps.
_NOISE = (
    re.compile(r"^Does not validate against any of the Union subtypes"),
    re.compile(r"^Subtypes:"),
    re.compile(r"^Errors:"),
    re.compile(r"^Given value( type)?:"),
    re.compile(r"^Expected a <class 'NoneType'>"),
    re.compile(r"^Expected a path but .* either not accessible or invalid$"),
    re.compile(r"^For more details"),
)
_NOT_ACCEPTED = re.compile(r"Option '([^']+)' is not accepted")
_CLASS = re.compile(r"class_path '([^']+)'")
_UNRECOGNIZED = re.compile(r"(?:[Uu]nrecognized arguments:|Key|[Oo]ption|key) '?-*([\w.+]+)")


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def check_yaml(path: Path) -> None:
    """Raises UserError with file, line and reason if a file is no YAML configuration; jsonargparse names no file."""
    try:
        content = yaml.load(path.read_text(), _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or error
        raise UserError(f"{path}{where} is not YAML: {reason}. Check brackets, quotes and indentation there") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file, so no configuration") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no configuration: it must have keys such as model and data, with a colon each")


class Parser(LightningArgumentParser):
    """Lightning's parser, with three differences: no abbreviated options (a misspelt one is an error), the
    nearest name suggested, and errors raised instead of printed below the usage."""

    # Those of the subcommands too: it is the outer parser that finds a misspelt key in their YAML.
    _all: ClassVar[WeakSet[Parser]] = WeakSet()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._all.add(self)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises UserError with the message as one paragraph."""
        if not self.exit_on_error:  # a parser inside, for the arguments of a class: the outer one goes on
            super().error(message, ex)
        options = {key for parser in list(self._all) for key, _ in parser.get_defaults(skip_validation=True).items()}
        raise UserError(explain(message, sorted(options))) from ex


def explain(message: str, options: Iterable[str] = ()) -> str:
    """What of a message of jsonargparse helps, in one paragraph, with the nearest name of a misspelt one.

    Args:
        message: of several lines.
        options: the full names that the parser accepts.
    """
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    kept = list(dict.fromkeys(line for line in lines if line and not any(noise.match(line) for noise in _NOISE)))
    text = " ".join(kept)
    text = re.sub(r"<class '(?:[\w]+\.)*(\w+)'>", r"\1", text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"Problem with given class_path '([^']+)':", r"\1:", text)
    text = re.sub(
        r"(?<=: )(?:Expected an? |Expected )(?=\w)",
        "expected ",
        text.replace("Expected a one of", "Expected one of"),
    )
    text = text.replace(". Got value:", ", not").replace("Parser key ", "")
    return text + _suggestion(" ".join(lines), options)


def _suggestion(text: str, options: Iterable[str]) -> str:
    """`; did you mean ...?`, where something is misspelt and something like it exists."""
    if match := _NOT_ACCEPTED.search(text):
        wrong, known = match[1].split(".")[0], _parameters(text)
    elif "no attribute" in text and (match := re.search(r"module '([^']+)' has no attribute '([^']+)'", text)):
        wrong, known = match[2], dir(importlib.import_module(match[1]))
    elif match := _UNRECOGNIZED.search(text):
        wrong, known = match[1], list(options)
    else:
        return ""
    near = difflib.get_close_matches(wrong, list(known), n=2, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if known and len(known) < 30:
        return f"; there are {', '.join(known)}"
    return ""


def _parameters(text: str) -> list[str]:
    """The arguments of the last class or function that a message names, as jsonargparse resolves them."""
    names = _CLASS.findall(text)
    if not names:
        return []
    module, _, name = names[-1].rpartition(".")
    target = getattr(importlib.import_module(module), name)
    parser = LightningArgumentParser()
    add_arguments = parser.add_class_arguments if inspect.isclass(target) else parser.add_function_arguments
    return add_arguments(target, fail_untyped=False)
