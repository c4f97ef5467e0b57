"""Who may import whom: the arrows of the design, read from the sources themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "src").rglob("*.py"))


def module(file: Path) -> str:
    """src/data/base.py is src.data.base, src/data/__init__.py is src.data."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, package: str) -> set[str]:
    """Everything that a source text imports, wherever in it, by full name: `from a import b` is a.b."""
    return set(_imports(ast.parse(source), package))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    """Whether a full name is one of these packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


IMPORTS = {
    module(file): imports(file.read_text(), module(file if file.stem == "__init__" else file.parent)) for file in FILES
}


def imported_by(*packages: str) -> list[tuple[str, str]]:
    """(module, what it imports) for all modules in these packages; there is at least one."""
    found = [(name, target) for name, targets in IMPORTS.items() if within(name, *packages) for target in targets]
    assert any(within(name, *packages) for name in IMPORTS), f"no module in {packages}"
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn.functional as F", {"torch.nn.functional"}),
        ("from src import rng, cli", {"src.rng", "src.cli"}),
        ("from src.data.base import Part as P", {"src.data.base.Part"}),
        ("from . import base", {"src.data.base"}),
        ("from .base import Part", {"src.data.base.Part"}),
        ("from ..nets import cnn", {"src.nets.cnn"}),
        ("def f():\n    if True:\n        import yaml", {"yaml"}),
    ],
)
def test_every_way_to_import_is_seen(source: str, expected: set[str]):
    assert imports(source, "src.data") == expected


def test_a_name_that_only_begins_alike_is_another():
    assert within("src.data", "src.data") and within("src.data.base", "src.data")
    assert not within("src.database", "src.data")


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("src.rng", []),
        ("src.errors", []),
        ("src.augment", ["src.rng", "src.data.split"]),
        ("src.data", ["src.rng", "src.errors", "src.augment", "src.data"]),
        ("src.nets", ["src.nets"]),
    ],
)
def test_the_leaves_know_little_of_the_house(who: str, allowed: list[str]):
    wrong = [
        (name, target) for name, target in imported_by(who) if within(target, "src") and not within(target, *allowed)
    ]
    assert wrong == []


def test_nets_import_torch_and_the_standard_library_alone():
    allowed = {"torch", "src", *sys.stdlib_module_names}
    assert [(name, target) for name, target in imported_by("src.nets") if target.split(".")[0] not in allowed] == []


@pytest.mark.parametrize(
    ("who", "forbidden"),
    [
        ("src.classifier", ["src.nets", "src.data"]),
        ("src.callbacks", ["src.nets"]),
    ],
)
def test_training_knows_no_particular_network_or_data(who: str, forbidden: list[str]):
    assert [(name, target) for name, target in imported_by(who) if within(target, *forbidden)] == []


def test_nothing_imports_the_entry_points_but_each_other():
    importers = {name for name, target in imported_by("src") if within(target, "src.cli", "src.__main__")}
    assert importers == {"src.__main__", "src.examination"}  # the doctor's command line is one of cli's
    assert {name for name, target in imported_by("src") if within(target, "src.examination")} == {"src.cli"}
    assert any(within(target, "src.cli") for target in IMPORTS["src.__main__"])


def test_the_house_is_never_imported_as_a_whole():
    # `import src`, or a star, would let a module reach anything unseen by the tests above.
    assert [(n, t) for n, t in imported_by("src") if t == "src" or (within(t, "src") and t.endswith(".*"))] == []


def test_every_import_from_the_house_exists():
    def exists(target: str) -> bool:
        return target in IMPORTS or target.rpartition(".")[0] in IMPORTS

    assert [(n, t) for n, t in imported_by("src") if within(t, "src") and not exists(t)] == []


def test_no_file_or_folder_is_named_after_nothing():
    named = {part.removesuffix(".py") for file in FILES for part in file.relative_to(ROOT).parts}
    assert named & {"utils", "util", "helpers", "helper", "misc", "common"} == set()
