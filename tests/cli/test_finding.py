"""The doctor's lines and exit code."""

from __future__ import annotations

import pytest

from src.cli.finding import Finding, report, size


def test_the_exit_code_is_1_if_anything_fails(capsys: pytest.CaptureFixture[str]) -> None:
    fine, bad = Finding("ok", "data", "two\n  lines"), Finding("FAIL", "disk", "full")
    assert report([fine, Finding("note", "threads", "idle")]) == 0
    assert report([bad, fine]) == 1
    assert capsys.readouterr().out.splitlines() == [
        *("ok    data: two lines", "note  threads: idle"),
        *("FAIL  disk: full", "ok    data: two lines"),
    ]


def test_sizes() -> None:
    assert [size(0), size(1_500_000), size(10**9), size(10**13)] == ["0.0 MB", "1.5 MB", "1.0 GB", "10,000.0 GB"]
