"""The project uses the terms of PyTorch's and Lightning's documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PLACES = ("src", "tests", "configs", "benchmarks", "docs")
FILES = [
    *(path for place in PLACES for path in sorted((ROOT / place).rglob("*")) if path.suffix in (".py", ".yaml", ".md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")),
]
# The migration and its test contain the names of older versions.
EXEMPT = (Path(__file__), ROOT / "src/runtime/file_format.py", ROOT / "tests/runtime/test_file_format.py")

# What is not written, and the established term. Each is a regular expression for complete words, in any case.
TERMS = {
    r"pictu[r]es?": "image",
    r"data sets?": "dataset",
    r"sample numbers?": "sample index",
    r"lest": "so that not",
    r"anew": "again",
    r"for want of": "without",
    r"for ever": "forever",
    r"normalis\w+|initialis\w+|labelled": "American spelling",
    r"a (?:logit|row) an? \w+": "one logit per class",
}


@pytest.mark.parametrize("pattern", TERMS)
def test_established_terms_are_used(pattern: str) -> None:
    banned = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        if path not in EXEMPT
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if banned.search(line)
    ]
    assert not found, f"write {TERMS[pattern]!r} instead:\n" + "\n".join(found)
