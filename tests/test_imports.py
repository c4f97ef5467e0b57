"""Which folder may import which: the arrows of the design, parsed from the source files."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "src").rglob("*.py"))

# Each folder of src may import itself and those that stand before it; those in one row do not import each other.
ARROWS = (
    ("rng", "errors", "files"),
    ("data", "models", "optim", "metrics"),
    ("task",),
    ("classifier",),
    ("callbacks",),
    ("runtime",),
    ("inference", "studies"),
    ("cli",),
    ("__main__",),
)


def module(file: Path) -> str:
    """src/data/batch.py is src.data.batch, src/data/__init__.py is src.data."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, package: str) -> set[str]:
    """Everything that a source text imports, anywhere in it, by full name: `from a import b` is a.b."""
    return set(_imports(ast.parse(source), package))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def folder(name: str) -> str:
    """The part of src to which a full name belongs: src.data.storage.cache is in data."""
    return name.split(".")[1]


def allowed(importer: str) -> set[str]:
    """The parts of src that a part may import."""
    row = next(row for row in ARROWS if importer in row)
    return {importer, *(name for before in ARROWS[: ARROWS.index(row)] for name in before)}


IMPORTS = {
    module(file): imports(file.read_text(), module(file if file.stem == "__init__" else file.parent)) for file in FILES
}
INTERNAL = [
    (name, target) for name, targets in IMPORTS.items() for target in sorted(targets) if target.split(".")[0] == "src"
]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn.functional as F", {"torch.nn.functional"}),
        ("from src import rng, cli", {"src.rng", "src.cli"}),
        ("from src.data.batch import Batch as B", {"src.data.batch.Batch"}),
        ("from . import batch", {"src.data.batch"}),
        ("from .batch import Batch", {"src.data.batch.Batch"}),
        ("from ..models import cnn", {"src.models.cnn"}),
        ("def f():\n    if True:\n        import yaml", {"yaml"}),
    ],
)
def test_every_form_of_import_is_found(source: str, expected: set[str]) -> None:
    assert imports(source, "src.data") == expected


def test_every_file_belongs_to_a_part_of_the_design() -> None:
    known = {name for row in ARROWS for name in row}
    assert {folder(name) for name in IMPORTS if name != "src"} <= known


@pytest.mark.parametrize("importer", [name for row in ARROWS for name in row])
def test_imports_run_along_the_arrows(importer: str) -> None:
    wrong = [
        (name, target)
        for name, target in INTERNAL
        if name != "src" and folder(name) == importer and folder(target) not in allowed(importer)
    ]
    assert wrong == []


def test_the_arrows_are_not_vacuous() -> None:
    assert allowed("data") == {"data", "rng", "errors", "files"}
    assert "runtime" not in allowed("callbacks") and "callbacks" in allowed("runtime")
    assert len(INTERNAL) > 100


@pytest.mark.parametrize("package", ["models", "optim"])
def test_networks_and_optimizers_import_torch_and_the_standard_library_alone(package: str) -> None:
    libraries = {"torch", "torchvision", "src", *sys.stdlib_module_names}
    found = [(name, target) for name, targets in IMPORTS.items() for target in targets if package in name.split(".")]
    assert found
    assert [(name, target) for name, target in found if target.split(".")[0] not in libraries] == []


@pytest.mark.parametrize("part", ["classifier", "callbacks", "runtime"])
def test_training_imports_no_particular_network_or_dataset(part: str) -> None:
    particular = ("src.models", "src.data.cifar10", "src.data.shapes", "src.data.image_folder")
    found = [target for name, target in INTERNAL if name != "src" and folder(name) == part]
    names = ("class_activation", "layers", "memory_format", "pretrained")  # for any network
    general = tuple(f"src.models.{name}" for name in names)
    assert [target for target in found if target.startswith(particular) and not target.startswith(general)] == []


def test_src_is_never_imported_as_a_whole() -> None:
    # `import src`, or a star, would let a module reach anything unseen by the tests above.
    assert [(name, target) for name, target in INTERNAL if target == "src" or target.endswith(".*")] == []


def test_every_import_from_src_exists() -> None:
    assert [(n, t) for n, t in INTERNAL if t not in IMPORTS and t.rpartition(".")[0] not in IMPORTS] == []


def test_no_file_or_folder_has_a_name_without_meaning() -> None:
    named = {part.removesuffix(".py") for file in FILES for part in file.relative_to(ROOT).parts}
    assert named & {"utils", "util", "helpers", "helper", "misc", "common"} == set()
