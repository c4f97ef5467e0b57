"""Lines and exit code of the doctor."""

from __future__ import annotations

import pytest

from src.cli.doctor.finding import Finding, Note, check, report
from src.errors import UserError


def raising(error: Exception) -> str:
    raise error


def test_what_a_check_returns_or_raises_is_its_level() -> None:
    assert check("disk", str, "free") == Finding("ok", "disk", "free")
    assert check("disk", Note, "low") == Finding("note", "disk", "low")
    assert check("disk", raising, UserError("full")) == Finding("FAIL", "disk", "full")
    assert check("disk", raising, ValueError("full")) == Finding("FAIL", "disk", "full (ValueError)")


def test_a_fault_in_code_has_its_traceback_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("disk", raising, AssertionError("odd")) == Finding("FAIL", "disk", "odd (AssertionError)")
    assert "raise error\nAssertionError: odd" in capsys.readouterr().err


def test_the_exit_code_is_1_if_anything_fails(capsys: pytest.CaptureFixture[str]) -> None:
    fine, bad = Finding("ok", "data", "two\n  lines"), Finding("FAIL", "disk", "full")
    assert report([fine, Finding("note", "threads", "idle")]) == 0
    assert report([bad, fine]) == 1
    assert capsys.readouterr().out.splitlines() == [
        *("ok    data: two lines", "note  threads: idle"),
        *("FAIL  disk: full", "ok    data: two lines"),
    ]
