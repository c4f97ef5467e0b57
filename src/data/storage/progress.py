"""Progress on stderr, apart from what a command prints as its result."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def info(line: str) -> None:
    """Prints a line to stderr."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(
    name: str, total: int, *columns: ProgressColumn, line: Callable[[int, int], str]
) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the amount done. Shows a bar with additional `columns` on a terminal, and prints a
    line every 10 % to a log file, in which `line` formats the amount done and the total."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(*Progress.get_default_columns(), *columns, console=console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    tenths = 0

    def report(done: int) -> None:
        nonlocal tenths
        if done * 10 // total != tenths:
            tenths = done * 10 // total
            info(f"{name}: {line(done, total)}")

    yield report
