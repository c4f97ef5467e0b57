"""What all benchmarks share: the parser of their arguments, and a table with the conditions of the measurement."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import date
from importlib import metadata

from src.runtime import manifest
from src.runtime.code_state import code_state, imported_files


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--data_dir`."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--data_dir", default="data", help="the folder of CIFAR-10")
    return result


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; floats have two decimals."""
    cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *cells])


def conditions(*versions: str) -> str:
    """Date, commit, versions (the given ones in addition) and hardware in one line."""
    state, _ = code_state(manifest.PROJECT, imported_files())
    commit = f"{(state['commit'] or 'unknown')[:7]}{' and changes' if state['changed'] else ''}"
    installed = [f"{name} {metadata.version(name)}" for name in ("torch", "lightning", "torchmetrics")]
    on = manifest.hardware()
    return (
        f"{date.today()}, commit {commit}; {', '.join([*installed, *versions])}; {on['cpu']}, {on['cores']} cores, "
        f"{on['threads']} threads, {', '.join(on['gpus']) or 'no GPU'}"
    )
