"""`python -m src runs`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from src.cli.overview import answer
from tests.conftest import ROOT
from tests.studies.runs import finished, model, write_run


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number, net in enumerate(("Wide", "Wide", "Deep")):
        write_run(tmp_path / "logs", f"{net.lower()}/{number}", model(net, width=number), finished(number / 10))
    return tmp_path / "logs"


def runs(logs: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    """The listed names, and what is printed to stderr."""
    assert answer(["runs", "--logs", str(logs), "--format=json", *arguments]) == 0
    printed = capsys.readouterr()
    return " ".join(one["run"] for one in json.loads(printed.out)), printed.err


def test_runs_are_selected_and_sorted(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs(logs, capsys)[0] == "deep/2 wide/0 wide/1"
    assert runs(logs, capsys, "--where", "model.net=Wide", "--sort", "test/acc")[0] == "wide/1 wide/0"


def test_a_damaged_run_hides_no_other(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "wide/0/results.json").write_text("{")
    listed, errors = runs(logs, capsys)
    assert listed == "deep/2 wide/0 wide/1"
    assert errors.startswith(f"{logs}/wide/0/results.json cannot be read: ") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--logs", "nowhere"], "nowhere is not a folder"),
        (["--sort", "test/ac"], "did you mean test/acc?"),
        (["--where", "model.net"], "is not KEY=VALUE"),
    ],
)
def test_bad_arguments_are_one_paragraph(
    arguments: list[str], words: str, logs: Path, refused: Callable[..., str]
) -> None:
    assert words in refused("runs", "--logs", str(logs), *arguments)


def test_no_runs_are_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["runs", "--logs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"


@pytest.mark.slow
def test_a_thousand_runs_are_listed_without_torch(tmp_path: Path) -> None:
    config = (ROOT / "configs/cifar10.yaml").read_text()
    for number in range(1000):
        directory = write_run(tmp_path, f"a/{number}", {}, finished(0.5))
        (directory / "config.yaml").write_text(config)
    command = [sys.executable, "-X", "importtime", "-m", "src", "runs", "--logs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("a/") == 1000
    assert "torch" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
