"""`python -m src completion`: a JSON schema by which editors complete and check recipes, or the script of a shell."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from src.cli import inference_arguments, results, runs, study, sweep
from src.cli.command_line import CLI, EXPERIMENT
from src.cli.doctor.command import DoctorCLI
from src.cli.overview import SUBCOMMANDS
from src.cli.parser import Parser
from src.errors import UserError
from src.runtime import file_format
from src.runtime.lightning_workarounds import describing

# The classes whose arguments are described; class paths of others are accepted with any arguments.
_DESCRIBED = ("src.", "torch.optim.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.")

_PARSERS = inference_arguments.PARSERS | {
    name: module.build_parser
    for name, module in (("study", study), ("sweep", sweep), ("runs", runs), ("results", results))
}
_WITHOUT_KEYS = ("export", "demo", "runs", "results", "completion")

# Bash completes by the first word of a command, which is Python; what it runs otherwise gets the completion of files.
_BASH = """
_python_m_src() {
  if [[ $COMP_CWORD -gt 2 && ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == src ]]; then
    COMP_WORDS=("${COMP_WORDS[@]:2}")
    COMP_CWORD=$((COMP_CWORD - 2))
  elif [[ $COMP_CWORD -gt 1 && ${COMP_WORDS[1]} == */src ]]; then
    COMP_WORDS=("${COMP_WORDS[@]:1}")
    COMP_CWORD=$((COMP_CWORD - 1))
  else
    return
  fi
  _shtab_src
}
complete -o bashdefault -o default -F _python_m_src python python3
"""


class _Built(Exception):
    """Carries the parser out of the command line before it parses."""


def complete(arguments: list[str]) -> None:
    """Prints what completes recipes or commands.

    Raises:
        UserError: if the script for bash was asked for, and shtab is not installed.
    """
    kind = build_parser().parse_args(arguments).kind
    parsers = _parser_of(CLI).subcommand_parsers
    described = schema(parsers["fit"])
    if kind == "jsonschema":
        print(json.dumps(described, indent=1))
    else:
        options = {name: parser.option_names() for name, parser in parsers.items()}
        print(bash(options | {"doctor": _parser_of(DoctorCLI).option_names()}, described))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m src completion", description=SUBCOMMANDS["completion"])
    parser.add_argument("kind", choices=["jsonschema", "bash"], help="a JSON schema of recipes, or a script for bash")
    return parser


def _parser_of(kind: Any) -> Parser:
    class Unparsed(kind):
        def parse_arguments(self, parser: Any, args: Any) -> None:
            raise _Built(parser)

    try:
        Unparsed([])
    except _Built as built:
        return built.args[0]
    raise AssertionError


# JSON schema


def schema(parser: Parser) -> dict[str, Any]:
    """The JSON schema of a recipe, all of whose keys are optional, since several files may be given."""
    parser.add_argument("--schedule", type=LRScheduler | None)
    with describing(_DESCRIBED):
        described = json.loads(parser.get_completion_script("jsonschema"))
    keys = described["properties"]
    # jsonargparse describes no function that returns a union.
    keys["model"]["properties"]["lr_scheduler"]["anyOf"] = keys["schedule"]["anyOf"]
    del keys["model"]["properties"]["lr_scheduler"]["type"]
    described["properties"] = {key: keys[key] for key in (file_format.ENTRY, *EXPERIMENT)}
    _adapt(described)
    return described


def _adapt(node: Any) -> None:
    """Makes keys optional, of which a constructor gets some from its caller, and admits classes of other packages."""
    if isinstance(node, list):
        for each in node:
            _adapt(each)
    elif isinstance(node, dict):
        for each in node.values():
            _adapt(each)
        if isinstance(node.get("required"), list):
            del node["required"]
        if isinstance(node.get("properties"), dict):
            node["properties"].pop("$schema", None)
        if known := [name for each in node.get("anyOf", ()) if (name := _class_path(each))]:
            properties = {"class_path": {"not": {"enum": known}}, "init_args": {}, "dict_kwargs": {}}
            node["anyOf"].append({"type": "object", "properties": properties, "additionalProperties": False})


def _class_path(node: dict[str, Any]) -> str | None:
    return node.get("properties", {}).get("class_path", {}).get("const")


# Shell


def bash(options: dict[str, list[str]], described: dict[str, Any]) -> str:
    """The script for bash: subcommands, their options, and the values of those that have choices."""
    if not find_spec("shtab"):
        raise UserError("this needs the package shtab: `uv pip install shtab`")
    import shtab  # pyright: ignore[reportMissingImports]

    keys: dict[str, dict[str, None]] = {}
    for name, choices in _keys(described, described["$defs"]):
        keys.setdefault(name, {}).update(dict.fromkeys(choices))
    top = argparse.ArgumentParser("src")
    commands = top.add_subparsers()
    for name, does in SUBCOMMANDS.items():
        parents = [_PARSERS[name]()] if name in _PARSERS else []
        command = commands.add_parser(name, help=does, parents=parents, conflict_handler="resolve")
        for key in dict.fromkeys([*options.get(name, ()), *(() if name in _WITHOUT_KEYS else keys)]):
            command.add_argument(f"--{key}", choices=list(keys.get(key, ())) or None)
    return shtab.complete(top, "bash") + _BASH


def _keys(node: dict[str, Any], classes: dict[str, Any], name: str = "") -> Iterator[tuple[str, list[str]]]:
    """The keys of a schema, without `init_args`, with their choices; of the arguments of a class, only their names."""
    alternatives = [
        of_class
        for each in node.get("anyOf", [node])
        for of_class in (classes[each["$ref"].rpartition("/")[2]].get("anyOf", ()) if "$ref" in each else [each])
    ]
    if default := isinstance(node.get("default"), dict) and node["default"].get("class_path"):
        alternatives = [each for each in alternatives if _class_path(each) == default]  # of the default callbacks
    if name:
        values = [value for each in alternatives for value in each.get("enum", ()) if isinstance(value, str)]
        values += ["true", "false"] if "boolean" in (node.get("type"), *node.get("type", ())) else []
        yield name, values + [path for each in alternatives if (path := _class_path(each))]
    for each in alternatives:
        properties = each.get("properties", {})
        if "class_path" not in properties:
            for key, value in properties.items():
                yield from _keys(value, classes, f"{name}.{key}".removeprefix("."))
        elif _class_path(each):
            for key in properties["init_args"].get("properties", ()):
                yield f"{name}.{key}", []
