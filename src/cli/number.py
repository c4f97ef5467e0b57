"""The types of numbers on a command line of argparse, whose errors are one paragraph."""

from __future__ import annotations

from collections.abc import Callable

from src.errors import UserError


def at_least(least: int, option: str) -> Callable[[str], int]:
    """Of an integer; what it returns raises UserError for one below `least`."""

    def parse(text: str) -> int:
        if (value := int(text)) < least:
            raise UserError(f"{option} {text} must be at least {least}")
        return value

    parse.__name__ = "int"  # of what is not an integer
    return parse


def above_zero(option: str) -> Callable[[str], float]:
    """Of a number; what it returns raises UserError for one that is not above 0."""

    def parse(text: str) -> float:
        if not (value := float(text)) > 0:
            raise UserError(f"{option} {text} must be above 0")
        return value

    parse.__name__ = "float"
    return parse
