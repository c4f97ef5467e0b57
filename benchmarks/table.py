"""What every benchmark prints: a table, and what it was measured on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path

from src.runtime import manifest


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; floats are printed to two decimals."""
    lines = [[*header], ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def conditions(*more: str) -> str:
    """One line: date, commit, versions and hardware.

    Args:
        *more: further versions, as `keras 3.15`.
    """
    git = manifest.git_state(Path(__file__).parent)
    commit = f"{git['commit'][:7]}{' and changes' if git['diff_sha256'] else ''}" if git else "unknown"
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "lightning", "torchmetrics")]
    on = manifest.hardware()
    gpus = ", ".join(on["gpus"]) if on["gpus"] else "no GPU"
    return (
        f"{date.today()}, commit {commit}; {', '.join([*versions, *more])}; "
        f"{on['cpu']}, {on['cores']} cores, {on['threads']} threads, {gpus}"
    )


def _cell(cell: object) -> str:
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
