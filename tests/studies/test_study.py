"""Which runs a study has, with which commands they start, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from src.errors import UserError
from src.studies.processes import Claim, last_lines
from src.studies.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"model: {name}\n")
    return Study(tmp_path / "logs/s", {name: tmp_path / f"{name}.yaml" for name in ("a", "b")}, [0, 3], None, ["--x=1"])


def test_recipes_take_turns(study: Study) -> None:
    assert [member.name for member in study.members] == ["a_seed-0", "b_seed-0", "a_seed-3", "b_seed-3"]
    study = Study(study.directory, {"a": study.recipes["a"]}, [1], folds=2)
    assert [member.name for member in study.members] == ["a_seed-1_fold-0-of-2", "a_seed-1_fold-1-of-2"]


def test_a_run_starts_from_the_copy_of_its_recipe_and_resumes_from_a_checkpoint(study: Study) -> None:
    study.prepare()
    study.recipes["a"].write_text("model: other\n")
    member = study.members[0]
    start = study.command(member)
    assert start[:3] == ["fit", f"--config={study.directory}/recipes/a.yaml", "--x=1"]
    assert "--seed_everything=0" in start and f"--trainer.default_root_dir={member.directory}" in start
    assert (study.directory / "recipes/a.yaml").read_text() == "model: a\n"
    (member.directory / "checkpoints").mkdir(parents=True)
    (member.directory / "checkpoints/previous.ckpt").touch()
    assert study.command(member) == ["fit", f"--resume={member.directory}"]


def test_a_fold_is_not_tested(study: Study) -> None:
    study = Study(study.directory, study.recipes, [0], folds=5)
    command = study.command(study.members[2])
    assert {"--data.folds=5", "--data.fold=1", "--test_after_fit=false"} <= set(command)


def test_a_study_keeps_its_recipes_and_arguments(study: Study) -> None:
    study.prepare()
    study.prepare()
    study.recipes["a"].write_text("# a comment\nmodel: a\n")
    study.prepare()
    study.arguments = ["--x=2"]
    with pytest.raises(UserError, match="the arguments --x=2: this study began with others"):
        study.prepare()
    study.arguments = ["--x=1"]
    study.recipes["b"].write_text("model: c\n")
    with pytest.raises(UserError, match=r"b\.yaml: this study began with others"):
        study.prepare()


def test_a_missing_recipe_leaves_nothing_behind(study: Study) -> None:
    study.recipes["b"].unlink()
    with pytest.raises(UserError, match="is not a file"):
        study.prepare()
    assert not study.directory.exists()


def test_a_run_that_fails_is_reported_and_the_others_run(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study.prepare()
    monkeypatch.setattr(Study, "command", lambda self, member: ["--version" if member.recipe == "a" else "fitt"])
    for member in study.members:
        (member.directory / "checkpoints").mkdir(parents=True)
        (member.directory / "checkpoints/last.ckpt").touch()
    study.run(2)
    assert list(study.failed) == ["b_seed-0", "b_seed-3"] and "did you mean fit?" in study.failed["b_seed-0"]
    assert [member.is_finished for member in study.members] == [True, False, True, False]
    assert "b_seed-3 ended with exit code 2:\n    error: fitt is not" in capsys.readouterr().out


def test_a_claim_is_held_by_the_process_that_inherits_it(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "x"), Claim(tmp_path / "x")
    assert first.acquire() and not second.acquire()
    inherited = os.dup(first.descriptor)
    first.close()
    assert not second.acquire()
    os.close(inherited)
    assert second.acquire()
    second.close()


def test_the_last_lines_of_an_output(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output/run.txt").write_text("".join(f"{number}\n\n" for number in range(9)))
    assert last_lines(tmp_path / "run").split() == ["4", "5", "6", "7", "8"]
