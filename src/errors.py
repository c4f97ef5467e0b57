"""Errors that are printed as one paragraph."""

import difflib
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any


class UserError(Exception):
    """What the user can fix: printed as one paragraph without a traceback; the process exits with code 2.

    The message names the value, the rule, and what to do. Constructors raise ValueError for their arguments, which
    is printed in the same way; this is for what is found later.
    """


class RankLost(Exception):
    """Another process of the run has died: printed as one paragraph too, but the process exits with code 1."""


def optional_package(name: str, purpose: str, install: str | None = None) -> Any:
    """Imports a package that this project does not depend on, or a module of one.

    Args:
        name: of the package or module.
        purpose: what needs it.
        install: the packages to install, if not that one alone.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UserError(f"{purpose} needs the package {package}: `uv pip install {install or package}`") from error


def shortened(names: Sequence[str], limit: int = 10) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def did_you_mean(name: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Advice for a name that is not known: the nearest one that is, or all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"


def first_line(error: BaseException) -> str:
    """The first line of the message of an error, its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
