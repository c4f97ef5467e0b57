"""A command-line parser whose errors are one paragraph."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import pkgutil
import re
from collections.abc import Collection
from types import ModuleType
from typing import Any, NoReturn

from jsonargparse import set_parsing_settings
from lightning.pytorch.cli import LightningArgumentParser

from src import data, models, optim
from src.cli.faults import fault_in
from src.data import augment
from src.errors import UserError
from src.runtime.lightning_workarounds import start_from_own_defaults

start_from_own_defaults()

# Classes of these packages are suggested, and shown by --help.
PACKAGES = (augment, data, models, optim)

# jsonargparse raises built-in exceptions: what an error wraps, and for which key, is in its text alone.
_WRAPPER = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\":?|Problem with given class_path '(?P<class_path>[^']+)':|"
    r"Does not validate against any|Type \S.* expects a function or a callable class: |\n- Expected a path but"
)
_UNKNOWN = re.compile(r"(?:Group '(.+)' does not accept option|[Oo]ption|unrecognized arguments:) '?-*([\w.]+)")
_EXPECTED = re.compile(r"Expected an? (.+?)\. Got value: (.*)", re.DOTALL)
_EXPECTED_BY_UNION = re.compile(r"- Expected an? ([^:\n]+)$", re.MULTILINE)
_NOT_A_CLASS_PATH = re.compile(r"Expected a dot import path string: (.*)")


class Parser(LightningArgumentParser):
    """Lightning's parser without abbreviations, so that a misspelled option is an error, and with errors that are
    raised as one paragraph."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"prog": "python -m src", "allow_abbrev": False, **kwargs})
        self._subcommand_parsers: dict[str, Parser] = {}

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        action = super().add_subcommands(*args, **kwargs)
        self._subcommand_parsers = action.choices
        return action

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Refuses null for an argument whose type does not include it: jsonargparse takes it for "not given"."""
        super().validate(*args, **kwargs)
        set_parsing_settings(unset_sentinel=True)
        try:
            super().validate(*args, **{**kwargs, "skip_required": True})
        finally:
            set_parsing_settings(unset_sentinel=False)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises UserError; the parser of a class, whose errors the parser of the command line wraps, ArgumentError."""
        with contextlib.suppress(Exception):  # a fault in the wording must not replace the error
            if unknown := _UNKNOWN.match(message):
                name = ".".join(filter(None, unknown.groups()))
                message += _suggestion(name, self._options(), list_all=not self.exit_on_error)
            elif ex and self.exit_on_error:
                message = explain(ex)
        if not self.exit_on_error:
            super().error(message, ex)
        if fault := fault_in(ex):
            raise fault
        raise UserError(" ".join(message.split())) from ex

    def _options(self) -> list[str]:
        """Full names, those of the subcommands included: the outer parser checks the keys of a configuration file."""
        own = [
            name[2:] for name in self._option_string_actions if name[:2] == "--" and not name.endswith(("help", "+"))
        ]
        return [*own, *(name for parser in self._subcommand_parsers.values() for name in parser._options())]


def explain(error: BaseException) -> str:
    """Key, class path and reason of an error, in one paragraph, with the nearest name for a misspelled one.

    jsonargparse wraps the reason in up to eight exceptions, each with the text of all inner ones and of all
    alternatives. This follows the chain of causes to the innermost.
    """
    keys: list[str] = []
    class_path = outer = ""
    while match := _WRAPPER.match(text := str(error)):
        if match["key"] and match["key"] not in keys[-1:]:
            keys.append(match["key"])
        class_path = match["class_path"] or class_path
        if error.__cause__ is None:
            text = text[match.end() :]
            break
        outer, error = text, error.__cause__
    place = ".".join(keys) + (f" ({class_path})" if class_path else "")
    return " ".join(f"{place}: {_reason(error, text, outer)}".removeprefix(": ").split())


def _reason(error: BaseException, text: str, outer: str) -> str:
    """The text of the innermost error; `outer` names the alternatives of a union."""
    if match := _EXPECTED.fullmatch(text):
        types = _EXPECTED_BY_UNION.findall(outer) if "Union" in outer else []
        return f"expected {' or '.join(map(_type_name, types or [match[1]]))}, not {match[2]}"
    if match := _NOT_A_CLASS_PATH.fullmatch(text):
        known = [name for package in PACKAGES for name in package.__all__]
        return f"{match[1]} is not a class path{_suggestion(match[1], known)}"
    if isinstance(error, AttributeError) and error.name and inspect.ismodule(error.obj):
        return text + _suggestion(error.name, _names(error.obj), list_all=True)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return text + _suggestion(error.name, [module.name for module in pkgutil.iter_modules()])
    return text


def _names(module: ModuleType) -> list[str]:
    """Classes, functions and submodules."""
    own = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return own + [submodule.name for submodule in pkgutil.iter_modules(getattr(module, "__path__", ()))]


def _type_name(text: str) -> str:
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text).replace("NoneType", "null")
    return re.sub(r"typing\.Literal\[(.*)\]", r"one of \1", text)


def _suggestion(name: str, known: Collection[str], list_all: bool = False) -> str:
    """`; did you mean ...?`, or the few that are known if none is near."""
    if nearest := difflib.get_close_matches(name, known, n=1):
        return f"; did you mean {nearest[0]}?"
    return f"; choose from {', '.join(known)}" if list_all and 0 < len(known) < 30 else ""
