"""Runs a benchmark and writes its tables to results.md, so that nobody types them.

    python -m benchmarks.publish SCRIPT [ARGUMENTS]

There is one section for each script and kind of processor, with command, tables, commit, versions and hardware; that of
an earlier run is replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.turns import ROOT
from src.runtime import manifest

RESULTS = ROOT / "benchmarks/results.md"
_PATHS = ("--data_dir", "--keras_python")  # of this machine
_SECTION = "\n## "


def command(script: str, arguments: Sequence[str]) -> str:
    """The command as another machine runs it."""
    given = list(arguments)
    for number, argument in enumerate(arguments[:-1]):
        if argument in _PATHS:
            given[number + 1] = "..."
    threads = os.environ.get("OMP_NUM_THREADS")
    return " ".join([*([f"OMP_NUM_THREADS={threads}"] if threads else []), f"python -m benchmarks.{script}", *given])


def tables(output: str) -> str:
    """The output without the progress before its first table."""
    lines = output.strip().splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("| ")), None)
    if first is None:
        raise ValueError(f"the benchmark printed no table:\n{output}")
    return "\n".join(lines[first:])


def write(path: Path, title: str, section: str) -> None:
    """Replaces the section of a title in a Markdown file, or appends it."""
    head, *sections = path.read_text().rstrip().split(_SECTION)
    by_title = {one.partition("\n")[0]: one.partition("\n")[2].strip() for one in sections} | {title: section.strip()}
    path.write_text(head.rstrip() + "\n" + "".join(f"{_SECTION}{one}\n\n{text}\n" for one, text in by_title.items()))


def main() -> None:
    script, *arguments = sys.argv[1:]
    run = [sys.executable, "-m", f"benchmarks.{script}", *arguments]
    with subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    title = f"{script} on {manifest.hardware()['cpu']}"
    write(RESULTS, title, f"`{command(script, arguments)}`\n\n{tables(''.join(lines))}")


if __name__ == "__main__":
    main()
