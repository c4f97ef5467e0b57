"""A command-line parser whose errors are one paragraph."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import pkgutil
import re
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, set_parsing_settings
from lightning import Callback
from lightning.pytorch.cli import LightningArgumentParser
from torch import nn

from src.cli.explanation import explain, suggest_option
from src.cli.faults import fault_in
from src.errors import UserError
from src.runtime.lightning_workarounds import start_from_own_defaults

start_from_own_defaults()

_SUBCOMMAND = re.compile(r"\b(?:fit|validate|test|predict)\.(?=model|data)")


class Parser(LightningArgumentParser):
    """Lightning's parser without abbreviations, so that a misspelled option is an error, and with errors that are
    raised as one paragraph."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"prog": "python -m src", "allow_abbrev": False, **kwargs})
        self.subcommand_parsers: dict[str, Parser] = {}
        self._component: Any = None  # the class or the function, of the parser of one

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        action = super().add_subcommands(*args, **kwargs)
        self.subcommand_parsers = action.choices
        return action

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> Any:
        return self._add_component(theclass, super().add_class_arguments(theclass, *args, **kwargs))

    def add_function_arguments(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return self._add_component(function, super().add_function_arguments(function, *args, **kwargs))

    def _add_component(self, component: Any, added: list[str]) -> list[str]:
        """Leaves a default that is a class or a function to the constructor: jsonargparse makes a partial of a class,
        and cannot save a partial. Likewise the defaults of what a function takes as `**kwargs`, for which
        `torchvision.models.resnext50_32x4d` has others."""
        if not self.exit_on_error:  # the parser of a class
            self._component = component
            named = inspect.signature(component).parameters if inspect.isfunction(component) else added
            for action in self._actions:
                default = action.default
                if action.dest in added and (
                    action.dest not in named
                    or callable(default)
                    or (isinstance(default, dict) and "class_path" in default)
                ):
                    action.default = argparse.SUPPRESS
        return added

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
            if suggested := suggest_option(message, self.option_names(), list_all=not self.exit_on_error):
                about = self._about_component()
                message = suggested + (f" ({about})" if about and suggested.endswith("?") else about and f"; {about}")
            elif ex and self.exit_on_error:
                message = explain(ex)
        if not self.exit_on_error:
            super().error(message, ex)
        if fault := fault_in(ex):
            raise fault
        if message.startswith("the following arguments are required"):
            run = "--resume" if "resume" in self.option_names() else "--run"
            message = f"{_SUBCOMMAND.sub('', message)}; give a recipe, --config FILE, or a run, {run} RUN"
        raise UserError(" ".join(message.split())) from ex

    def _about_component(self) -> str:
        """Advice for an argument that the signature of the class or the function does not show."""
        if self._component in (nn.Module, Callback):  # jsonargparse's choice where no class is named
            return "class_path is missing"
        parameters = inspect.signature(self._component).parameters.values() if self._component else ()
        variable = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
        return "what it takes as **kwargs is given as dict_kwargs.NAME" if variable else ""

    def option_names(self) -> list[str]:
        """Full names, those of the subcommands included: the outer parser checks the keys of a configuration file."""
        own = [
            name[2:] for name in self._option_string_actions if name[:2] == "--" and not name.endswith(("help", "+"))
        ]
        return [*own, *(name for parser in self.subcommand_parsers.values() for name in parser.option_names())]


def has_argument(class_path: str, name: str) -> bool:
    """Whether a class or a function has an argument, or hands its `**kwargs` to a function that has it."""
    component, parser = pkgutil.resolve_name(class_path), ArgumentParser()
    if inspect.ismodule(component):  # torchvision.models.alexnet is also a function, which the colon chooses
        component = pkgutil.resolve_name(":".join(class_path.rsplit(".", 1)))
    add = parser.add_class_arguments if inspect.isclass(component) else parser.add_function_arguments
    return f"own.{name}" in add(component, "own", fail_untyped=False)
