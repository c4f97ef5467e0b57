"""Every command and every snippet of README and docs/ runs."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents import Block, blocks, project_copy, run_steps

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Commands that no test runs, with the reason.
NOT_RUN = {
    "python3 -m venv .venv && source .venv/bin/activate": "what `make` does, and .ci/run from nothing",
    "pip install --require-hashes -r requirements.txt": "what `make` does, and .ci/run from nothing",
    ".venv/bin/pre-commit install": "changes the hooks of the clone; test_tooling.py compares the hooks",
}
# Commands that need more devices than a test has: the configuration is parsed and printed.
PARSED = ("--trainer.devices", "--trainer.num_nodes")
# What starts processes on a cluster, up to the arguments of `fit`; tests/cluster and test_torchrun.py start real ones.
LAUNCHER = re.compile(r"(?:sbatch .*slurm/\w+\.sbatch|torchrun .*-m src fit|srun python -m src fit) ")
# The runs of a study are processes of their own, in which no dataset is replaced: fewer, shorter ones.
SHORT = ["--data.train_size=60", "--data.test_size=20", "--trainer.max_epochs=1", "--data.batch_size=20"]
SHORT += ["--trainer.default_callbacks.report=null", "--trainer.default_callbacks.projector=null"]
LANGUAGES = {"bash", "python", "yaml", "text"}  # text is for reading


def steps(block: Block) -> list[tuple[str, list[str] | str]]:
    """What of a block runs in the copy of the project."""
    if block.language == "python":
        return [] if block.file else [("python", block.text)]
    found: list[tuple[str, list[str] | str]] = []
    for command in block.commands if block.language == "bash" else []:
        if "slurm/study.sbatch" in command:
            found.append(("src", ["study", *command.partition(".sbatch ")[2].split(), "--processes=0"]))
        elif command.startswith("python -m src study "):
            few = re.sub(r"--folds \d+", "--folds 2", re.sub(r"0\.\.\d+", "0", command))
            found.append(("src", [*few.split()[3:], *SHORT]))
        elif "sweep" in command.split()[:4] or "slurm/sweep.sbatch" in command:
            continue  # by tests/cli/test_sweep.py, as it needs another package
        elif launched := LAUNCHER.match(command):
            found.append(("src", ["fit", *command[launched.end() :].split(), "--print_config"]))
        elif command.startswith("python -m src "):
            arguments = command.split()[3:]
            found.append(("src", [*arguments, *(["--print_config"] if parsed_only(command) else [])]))
    return found


def parsed_only(command: str) -> bool:
    return any(option in command for option in PARSED)


def by_make(command: str) -> bool:
    return command.startswith("make ")


def document_steps(document: Path) -> list[tuple[str, list[str] | str]]:
    return [step for block in blocks(document.read_text()) for step in steps(block)]


@pytest.mark.slow
@pytest.mark.parametrize("document", [path for path in DOCUMENTS if document_steps(path)], ids=lambda path: path.name)
def test_commands_and_snippets_run(document: Path, tmp_path: Path) -> None:
    project_copy(tmp_path)
    for block in blocks(document.read_text()):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    run_steps(tmp_path, document_steps(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_run_or_listed(document: Path) -> None:
    for block in blocks(document.read_text()):
        where = f"{document.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: the language of a code block is one of {LANGUAGES}"
        if block.language == "yaml":
            assert block.file, f"{where}: begin with a comment that names the file, which a command uses"
        if block.language == "bash":
            for command in block.commands:
                known = command.startswith("python -m src ") or by_make(command) or command in NOT_RUN
                known |= bool(LAUNCHER.match(command))
                assert known, f"{where}: {command!r} is neither run nor listed in NOT_RUN"


def test_listed_commands_are_documented() -> None:
    documented = {command for path in DOCUMENTS for block in blocks(path.read_text()) for command in block.commands}
    assert set(NOT_RUN) <= documented


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_of_a_snippet_is_used_by_a_command(document: Path) -> None:
    found = blocks(document.read_text())
    commands = " ".join(command for block in found if block.language == "bash" for command in block.commands)
    configs = " ".join(block.text for block in found if block.language == "yaml")
    for block in found:
        if block.file:
            name = block.file.removesuffix(".py").replace("/", ".") if block.language == "python" else block.file
            assert name in commands + configs, f"{document.name}:{block.line}: no command uses {name}"


def test_targets_of_make_exist() -> None:
    targets = {c for path in DOCUMENTS for block in blocks(path.read_text()) for c in block.commands if by_make(c)}
    targets |= {match for path in DOCUMENTS for match in re.findall(r"`(make [a-z]+)`", path.read_text())}
    assert {"make fit", "make test", "make check"} <= targets
    for command in sorted(targets):
        done = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_links_and_files_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), f"{document.name}: {target}"
    for path in re.findall(r"`((?:src|tests|configs|benchmarks|docs)/[\w/.]+)`", document.read_text()):
        assert (ROOT / path).exists(), f"{document.name}: {path}"


def test_new_class_paths_of_the_changelog_exist() -> None:
    rows = re.findall(r"^\| `.*` \| (`.*`) \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert len(rows) >= 6
    for row in rows:
        first, *others = re.findall(r"`([\w.]+)`", row)
        module, _, name = first.rpartition(".")
        assert all(hasattr(importlib.import_module(module), other) for other in (name, *others)), row


def test_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_tree_in_readme_exists() -> None:
    tree = next(block for block in blocks((ROOT / "README.md").read_text()) if block.language == "text")
    paths = re.findall(r"(?:^|\s)([\w/]+(?:/|\.py))(?=\s|$)", tree.text)
    assert len(paths) > 8
    assert [path for path in paths if not (ROOT / path).exists()] == []


# The reader of code blocks


def test_blocks_have_language_text_and_line() -> None:
    text = (
        "# A\n\n```bash\nmake fit  # trains\npython -m src fit \\\n    --help\n```\n\n```python\n# a/b.py\nx = 1\n```\n"
    )
    bash, python = blocks(text)
    assert (bash.language, bash.line, bash.file) == ("bash", 4, None)
    assert bash.commands == ["make fit", "python -m src fit --help"]
    assert (python.language, python.line, python.file) == ("python", 10, "a/b.py")


def test_steps_of_a_block() -> None:
    bash = Block("bash", "make fit\npython -m src fit --config a.yaml\npython -m src fit --trainer.devices 4\n", 1)
    parsed = ["fit", "--trainer.devices", "4", "--print_config"]
    assert steps(bash) == [("src", ["fit", "--config", "a.yaml"]), ("src", parsed)]
    assert steps(Block("python", "# src/a.py\nx = 1\n", 1)) == []
    assert steps(Block("python", "print(1)\n", 1)) == [("python", "print(1)\n")]
