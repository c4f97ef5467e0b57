"""The commit, the changed files and their patch."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.code_state import code_state, imported_files, module_folders
from tests.conftest import ROOT
from tests.toys import fit


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with src/a.py and src/b.py, in a folder with a space."""
    folder = tmp_path / "my project"
    (folder / "src").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / "src" / f"{name}.py").write_text(f"{name} = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def test_a_clean_project_is_its_commit(project: Path) -> None:
    state, patch = code_state(project, [project / "src" / "a.py"])
    assert len(state.pop("commit")) == 40
    assert (state, patch) == ({"changed": {}}, "")


def test_changed_new_deleted_and_foreign_files_are_named_and_in_the_patch(project: Path, tmp_path: Path) -> None:
    source, foreign = project / "src", tmp_path / "mine.py"
    (source / "a.py").write_text("a = 2\n")
    (source / "b.py").unlink()
    (source / "new.py").write_text("new = 1\n")
    foreign.write_text("foreign = 1\n")
    state, patch = code_state(project, [foreign])
    assert state["changed"].keys() == {"src/a.py", "src/b.py", "src/new.py", str(foreign)}
    assert state["changed"]["src/b.py"] is None
    assert {"-a = 1", "+a = 2", "-b = 1", "+new = 1", "+foreign = 1"} <= set(patch.splitlines())
    (source / "new.py").write_text("new = 2\n")
    assert code_state(project, [foreign])[0]["changed"]["src/new.py"] != state["changed"]["src/new.py"]


def test_the_patch_restores_the_code(project: Path, tmp_path: Path) -> None:
    (project / "src" / "a.py").write_text("a = 2\n")
    (project / "src" / "new.py").write_text("new = 1\n")
    (tmp_path / "patch").write_text(code_state(project, [])[1])
    git(project, "stash", "-qu")
    git(project, "apply", str(tmp_path / "patch"))
    assert (project / "src" / "a.py").read_text() == "a = 2\n"
    assert (project / "src" / "new.py").read_text() == "new = 1\n"


def test_without_a_repository_every_file_differs_and_the_reason_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    state, patch = code_state(tmp_path, [tmp_path / "a.py"])
    assert state["commit"] is None
    assert "not a git repository" in state["reason"]
    assert state["changed"].keys() == {"a.py"}
    assert "+a = 1" in patch


def test_without_git_the_reason_is_given(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert code_state(project, [])[0]["reason"] == "git is not installed"


def test_a_folder_that_git_refuses_is_reported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # a switch of git's own tests
    monkeypatch.setenv("HOME", os.devnull)  # where safe.directory may be set
    assert "dubious ownership" in code_state(project, [])[0]["reason"]


def test_imported_files_are_those_of_the_project() -> None:
    files = imported_files()
    assert ROOT / "src" / "classifier.py" in files
    assert not [path for path in files if "site-packages" in path.parts]


def test_a_run_keeps_the_patch_next_to_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.py"
    own.write_text("own = 1\n")
    monkeypatch.setattr("src.runtime.manifest.imported_files", lambda: [own])
    fit(tmp_path / "run")
    recorded = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert str(own) in recorded["git"]["changed"]
    assert "+own = 1" in gzip.decompress((tmp_path / "run" / recorded["patch"]).read_bytes()).decode()


def test_folders_of_modules_hold_their_top_level_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "nets" / "small"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "mlp.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = module_folders(ROOT)
    assert str(ROOT) not in before
    importlib.import_module("nets.small.mlp")
    assert set(module_folders(ROOT)) - set(before) == {str(tmp_path)}
    for name in ("nets", "nets.small", "nets.small.mlp"):
        monkeypatch.delitem(sys.modules, name)
