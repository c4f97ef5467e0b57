"""The record of what a run ran on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from src.runtime import manifest
from tests.toys import Squares, classifier, trainer


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_a_commit_and_the_hash_of_what_differs_from_it(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    clean = manifest.git_state(source)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["diff_sha256"] is None
    (source / "a.py").write_text("a = 2\n")
    changed = manifest.git_state(source)
    assert changed is not None
    assert changed["commit"] == clean["commit"]
    assert len(changed["diff_sha256"]) == 64


def test_outside_a_repository_there_is_none(tmp_path: Path) -> None:
    assert manifest.git_state(tmp_path / "src") is None


def test_seed_packages_hardware_and_data_are_recorded() -> None:
    record = manifest.collect(7, {"train": {"images": 3}})
    assert record["seed"] == 7
    assert record["data"] == {"train": {"images": 3}}
    assert set(manifest.PACKAGES) == record["packages"].keys()
    assert record["hardware"]["cores"] >= 1


def test_the_manifest_records_what_a_run_ran_on(tmp_path: Path) -> None:
    data = Squares(seed=5)
    trainer(tmp_path).fit(classifier(), datamodule=data, test_after_fit=False)
    recorded = json.loads((tmp_path / "manifest.json").read_text())
    assert recorded["seed"] == 5
    assert recorded["precision"] == "32-true"
    assert recorded["processes"] == 1
    assert recorded["data"]["train"]["images"] == 30
    assert recorded["data"]["train"]["sha256"] == data.describe()["train"]["sha256"]
    other = Squares(size=29)
    other.setup("fit")
    assert other.describe()["train"]["sha256"] != recorded["data"]["train"]["sha256"]
