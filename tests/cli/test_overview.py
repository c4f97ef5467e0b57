"""The answers that do not need torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from lightning.pytorch.cli import LightningCLI

from src.cli.command_line import CLI
from src.cli.doctor.command import DoctorCLI
from src.cli.overview import SUBCOMMANDS, answer
from src.cli.parser import Parser
from tests.conftest import ROOT


def help_of(monkeypatch: pytest.MonkeyPatch, kind: type[CLI], arguments: list[str]) -> str:
    """The help of the parser of a command line."""
    built = []

    def note(self: CLI, parser: Parser, args: object) -> None:
        built.append(parser.format_help())
        sys.exit()

    monkeypatch.setattr(CLI, "parse_arguments", note)
    with pytest.raises(SystemExit):
        kind(arguments)
    return " ".join(built[0].split())


def test_the_subcommands_are_those_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    of_lightning = {name: does for name, does in SUBCOMMANDS.items() if name in LightningCLI.subcommands()}
    listed = help_of(monkeypatch, CLI, []).partition("Available subcommands: (required) ")[2]
    assert listed == " ".join(f"{name} {does}" for name, does in of_lightning.items())
    assert SUBCOMMANDS["doctor"] in help_of(monkeypatch, DoctorCLI, ["doctor"])


def test_help_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--help"]) == answer(["-h", "fit"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text and does in text for name, does in SUBCOMMANDS.items())


def test_no_arguments_are_an_error_with_the_same_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--help"]) == 0
    shown = capsys.readouterr().out
    assert answer([]) == 2
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("fitt", "error: fitt is not a subcommand; did you mean fit?"),
        ("zzz", "error: zzz is not a subcommand; choose from fit, validate,"),
        ("configs/a.yaml", "did you mean fit --config configs/a.yaml?"),
    ],
)
def test_the_nearest_subcommand_is_suggested(word: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer([word, "--config=x"]) == 2
    assert words in capsys.readouterr().err


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--version"]) == 0
    text = capsys.readouterr().out
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f" {version}, lightning {metadata.version('lightning')}, torch " in text


@pytest.mark.parametrize("arguments", [["fit"], ["fit", "--help"], ["--config=x.yaml", "fit"]])
def test_other_arguments_are_left_to_the_parser(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(arguments) is None
    assert capsys.readouterr() == ("", "")


def test_a_sweep_names_the_package_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("src.studies.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert answer(["sweep", "--config=x.yaml", "--space=y.yaml", "--trials=1"]) == 2
    assert "error: a sweep needs the package optuna: `uv pip install optuna`." in capsys.readouterr().err


def test_ranks_are_no_workers_of_a_sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert answer(["sweep", "--config=x.yaml", "--space=y.yaml", "--trials=1"]) == 2
    assert "error: a worker of a sweep is one task" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fitt"], []])
def test_torch_is_not_imported(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "src", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 2)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "src.cli.overview" in imported
    assert not imported & {"torch", "lightning", "numpy", "jsonargparse", "yaml"}
