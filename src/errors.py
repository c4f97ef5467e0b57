"""Errors that are printed as one paragraph."""

from collections.abc import Sequence


class UserError(Exception):
    """What the user can fix: printed as one paragraph without a traceback; the process exits with code 2.

    The message names the value, the rule, and what to do. Constructors raise ValueError for their arguments, which
    is printed in the same way; this is for what is found later.
    """


class RankLost(Exception):
    """Another process of the run has died: printed as one paragraph too, but the process exits with code 1."""


def shortened(names: Sequence[str], limit: int = 10) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def first_line(error: BaseException) -> str:
    """The first line of the message of an error, empty if it has none."""
    return (str(error).strip().splitlines() or [""])[0]
