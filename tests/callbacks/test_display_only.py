"""What only shows something does not end a run."""

from __future__ import annotations

import pytest

from src.callbacks.display_only import display_only


def test_an_error_becomes_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"the chart is left out: first \(ValueError\)"), display_only("the chart"):
        raise ValueError("first\nsecond")


def test_an_interrupt_still_ends_it() -> None:
    with pytest.raises(KeyboardInterrupt), display_only("the chart"):
        raise KeyboardInterrupt
