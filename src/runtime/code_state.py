"""The code that a run executes: its commit, and the files that differ from it."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

# The file names of code that is not the project's or the user's.
INSTALLED = re.compile(rf"<|{re.escape(sysconfig.get_path('stdlib'))}|.*/(site|dist)-packages/")


def code_state(project: Path, imported: list[Path]) -> tuple[dict[str, Any], str]:
    """The state of the code, and its difference from the commit as a patch.

    The state is `commit`, `reason` if git does not tell it, and `changed`, which maps each file that differs from the
    commit to the start of its SHA-256, or to None if it is deleted. A file that git does not track differs as a whole.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True, errors="replace").stdout

    def paths(command: str, *arguments: str) -> set[Path]:
        return {project / name for name in git(command, "-z", *arguments).split("\0") if name}

    state: dict[str, Any] = {"commit": None}
    tracked: set[Path] = set()
    changed, new, patch = set[Path](), set(imported), ""
    try:
        state["commit"] = git("rev-parse", "HEAD").strip()
        tracked, changed = paths("ls-files"), paths("diff", "--name-only", "--relative", "HEAD", "--", ".")
        new = (new - tracked) | paths("ls-files", "--others", "--exclude-standard", "--", "src")
        patch = git("diff", "HEAD", "--relative", "--", ".")
    except FileNotFoundError:
        state["reason"] = "git is not installed"
    except subprocess.CalledProcessError as error:
        state["reason"] = next(iter(error.stderr.splitlines()), "git failed")
    state["changed"] = {_name(path, project): _checksum(path) for path in sorted(changed | new)}
    return state, patch + "".join(_as_new(path, _name(path, project)) for path in sorted(new))


def imported_files() -> list[Path]:
    """The files of the imported modules that are not installed: this project's, and the user's."""
    return [path for path in set(_own_modules().values()) if path.suffix == ".py"]


def module_folders(project: Path) -> list[str]:
    """The folders from which modules of the user's own were imported: those that are neither installed nor found in the
    folder of the project."""
    modules = {name: path.absolute() for name, path in _own_modules().items() if not name.startswith("__")}
    folders = {path.parents[name.count(".") + (path.name == "__init__.py")] for name, path in modules.items()}
    return sorted(map(str, folders - {project}))


def _own_modules() -> dict[str, Path]:
    """The files of the imported modules that are not installed, by the names of the modules."""
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    # torch names some modules after files that do not exist.
    return {
        name: Path(file) for name, file in files.items() if file and not INSTALLED.match(file) and os.path.isfile(file)
    }


def _name(path: Path, project: Path) -> str:
    return str(path.relative_to(project) if path.is_relative_to(project) else path)


def _checksum(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else None


def _as_new(path: Path, name: str) -> str:
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    return "".join(difflib.unified_diff([], lines, "/dev/null", f"b/{name}"))
