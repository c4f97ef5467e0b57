"""What is told to who waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def say(line: str) -> None:
    """A line for who waits, apart from what a command prints as its result."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(
    name: str, total: int, *columns: ProgressColumn, line: Callable[[int, int], str]
) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; in a log file a line for every tenth.

    Args:
        name: of what is made.
        total: how much there is to do.
        columns: of the bar, beside the usual ones.
        line: what a log says of how much is done, and of the total.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(*Progress.get_default_columns(), *columns, console=console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    told = 0

    def report(done: int) -> None:
        nonlocal told
        if done * 10 // total != told:
            told = done * 10 // total
            say(f"{name}: {line(done, total)}")

    yield report
