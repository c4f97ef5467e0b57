"""A line of the doctor's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from lightning.fabric.utilities.exceptions import MisconfigurationException

from src.cli.faults import print_fault
from src.errors import UserError


class Finding(NamedTuple):
    """FAIL would stop a training; a note would not."""

    level: Literal["ok", "note", "FAIL"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.subject}: {' '.join(self.text.split())}"


class Note(str):
    """The text of a note."""


def check(subject: str, function: Callable[..., str], *args: Any) -> Finding:
    """Calls a function that returns a text or a `Note`, and raises what is FAIL."""
    try:
        text = function(*args)
    except Exception as error:
        print_fault(error)
        kind = "" if isinstance(error, (UserError, MisconfigurationException)) else f" ({type(error).__name__})"
        return Finding("FAIL", subject, f"{error}{kind}")
    return Finding("note" if isinstance(text, Note) else "ok", subject, text)


def report(findings: Iterable[Finding], failures_of: str = "") -> int:
    """Prints each finding as soon as it is made, or those that fail on the named machine; returns the exit code."""
    failed = False
    for finding in findings:
        if not failures_of:
            print(finding, flush=True)
        elif finding.level == "FAIL":
            print(f"{finding} (on {failures_of})", flush=True)
        failed |= finding.level == "FAIL"
    return int(failed)
