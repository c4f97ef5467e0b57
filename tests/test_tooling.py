"""Hooks, CI and pinned versions are those of the Makefile and of pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import tomllib

import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT


def test_hooks_and_ci_run_what_make_lint_runs() -> None:
    done = subprocess.run(["make", "lint", "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
    lint = [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/") and "pip" not in line]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == lint
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    targets = re.findall(r"\bmake [\w-]+", (ROOT / ".ci/run").read_text())
    assert [step["run"] for step in jobs["test"]["steps"] if "run" in step] == ["make lint", *targets]
    assert "make test" in targets


def test_requirements_pin_every_dependency_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "requirements.txt").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text.replace("\\\n", "")) if entry.strip()]
    assert all("--hash=sha256:" in entry for entry in entries) and "://" not in text
    pins = {one.name: one for one in (Requirement(entry.split("--hash")[0]) for entry in entries)}
    for wanted in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]]):
        assert wanted.name in pins, f"{wanted.name} is not pinned; run `make lock`"
        version = str(pins[wanted.name].specifier).removeprefix("==")
        assert version in wanted.specifier, f"{wanted.name} {version} is not {wanted.specifier}; run `make lock`"
