"""What only shows something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_warn


@contextmanager
def display_only(what: str) -> Iterator[None]:
    """Leaves out, with a warning, what cannot be shown: that must not end a run."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        rank_zero_warn(f"{what} is left out: {reason} ({type(error).__name__})")
