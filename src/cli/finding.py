"""What the doctor says: one line a finding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the report; FAIL is what keeps a training from its end, note what is worth knowing."""

    level: Literal["ok", "note", "FAIL"]
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.level:<4}  {self.subject}: {' '.join(self.text.split())}"


def report(findings: Iterable[Finding]) -> int:
    """Prints each finding when it is made; gives the exit code."""
    failed = 0
    for finding in findings:
        print(finding, flush=True)
        failed += finding.level == "FAIL"
    return int(failed > 0)


def size(count: int) -> str:
    """So many bytes, readable."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
