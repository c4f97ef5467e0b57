"""manifest.json."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from src.runtime import manifest
from tests.toys import Squares, fit


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git_state_is_the_commit_and_the_hash_of_the_diff(tmp_path: Path) -> None:
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


def test_git_state_is_none_outside_a_repository(tmp_path: Path) -> None:
    assert manifest.git_state(tmp_path / "src") is None


def test_collect_returns_seed_packages_hardware_and_data() -> None:
    content = manifest.collect(7, {"train": {"images": 3}})
    assert content["seed"] == 7
    assert content["data"] == {"train": {"images": 3}}
    assert set(manifest.PACKAGES) == content["packages"].keys()
    assert content["hardware"]["cores"] >= 1


def test_a_fit_writes_the_manifest(tmp_path: Path) -> None:
    data = Squares(seed=5)
    fit(tmp_path, data=data)
    recorded = json.loads((tmp_path / "manifest.json").read_text())
    assert recorded["seed"] == 5
    assert recorded["precision"] == "32-true"
    assert recorded["processes"] == 1
    assert recorded["data"]["train"]["images"] == 30
    assert recorded["data"]["train"]["sha256"] == data.describe()["train"]["sha256"]
    other = Squares(size=29)
    other.setup("fit")
    assert other.describe()["train"]["sha256"] != recorded["data"]["train"]["sha256"]
