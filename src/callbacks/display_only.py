"""What only shows something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_warn

from src.errors import first_line


@contextmanager
def display_only(what: str) -> Iterator[None]:
    """Leaves out, with a warning, what cannot be shown: that must not end a run."""
    try:
        yield
    except Exception as error:
        rank_zero_warn(f"{what} is left out: {first_line(error)} ({type(error).__name__})")
