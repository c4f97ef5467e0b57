"""Which trials a sweep runs, and what becomes of those that fail or are interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from src.errors import UserError
from src.studies.processes import output_of
from tests.studies.runs import finished, write_run

pytestmark = pytest.mark.sweep
optuna = pytest.importorskip("optuna")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from src.studies.sweep import Sweep

    (tmp_path / "recipe.yaml").write_text("model: a\n")
    (tmp_path / "space.yaml").write_text("lr: {low: 0.1, high: 1}\n")
    monkeypatch.setattr(Sweep, "_check", lambda self: {"metric": "val/acc", "mode": "max"})
    one = Sweep(tmp_path / "logs/s", tmp_path / "recipe.yaml", tmp_path / "space.yaml", ["--x=1"])
    one.prepare()
    return one


def states(sweep: Any) -> list[str]:
    return [trial.state.name for trial in sweep.study.trials]


def end(sweep: Any, number: int, value: float) -> None:
    """Writes the run of a trial that has ended."""
    write_run(sweep.directory, f"trial-{number:03}", {"trainer": {"callbacks": []}}, finished(value))


def test_a_trial_is_a_fit_of_the_kept_recipe_without_a_test(sweep: Any) -> None:
    sweep.recipe.write_text("model: b\n")
    job = next(sweep._jobs(9))
    (value,) = sweep.study.trials[0].params.values()
    assert job.arguments == [
        *("fit", f"--config={sweep.directory}/recipe.yaml", "--x=1", f"--lr={value}"),
        *(f"--trainer.default_root_dir={sweep.directory}/trial-000",),
        *("--trainer.callbacks+=src.studies.trial_pruning.TrialPruning", "--test_after_fit=false"),
    ]
    assert (sweep.directory / "recipe.yaml").read_text() == "model: a\n"


def test_an_interrupted_trial_comes_first_and_resumes(sweep: Any) -> None:
    first = next(sweep._jobs(9))
    assert next(sweep._jobs(9)).run.name == "trial-001"  # the process of the first one holds its claim
    first.claim.close()
    again = next(sweep._jobs(9))
    assert again.arguments == first.arguments
    again.claim.close()
    (sweep.directory / "trial-000/checkpoints").mkdir(parents=True)
    (sweep.directory / "trial-000/checkpoints/last.ckpt").touch()
    assert next(sweep._jobs(9)).arguments == ["fit", f"--resume={sweep.directory}/trial-000", "--test_after_fit=false"]


def test_a_run_that_ended_before_its_result_was_told_is_not_run_again(sweep: Any) -> None:
    from src.studies.optuna_study import PRUNED, trial_of

    for number in range(2):
        next(sweep._jobs(9)).claim.close()
        if number == 0:
            end(sweep, 0, 0.75)
        else:
            trial = trial_of(sweep.study, 1)
            trial.report(0.5, 0)
            trial.set_user_attr(PRUNED, 0)
    assert next(sweep._jobs(9)).run.name == "trial-002"
    assert states(sweep) == ["COMPLETE", "PRUNED", "RUNNING"]
    assert [trial.value for trial in sweep.study.trials] == [0.75, 0.5, None]


def test_a_killed_trial_stays_open_and_a_failed_one_does_not(sweep: Any, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = sweep._jobs(4)
    for code in (-9, 143, 1, 0):
        job = next(jobs)
        output_of(job.run).write_text("reason\n")
        if code == 0:
            end(sweep, 3, 0.5)
        job.claim.close()
        job.ended(code)
    assert list(jobs) == []
    assert states(sweep) == ["RUNNING", "RUNNING", "FAIL", "COMPLETE"]
    assert sweep.interrupted == {0, 1} and sweep.failed == {"trial-002": "    reason"}
    assert "trial-000 was interrupted (exit code -9)" in capsys.readouterr().out
    table = (sweep.directory / "sweep.md").read_text()
    assert "The best trial is 3" in table and "| 2 | fail |" in table


def test_a_sweep_whose_first_trials_all_fail_ends(sweep: Any) -> None:
    jobs = sweep._jobs(50)
    for _ in range(3):
        job = next(jobs)
        output_of(job.run).touch()
        job.claim.close()
        job.ended(2)
    assert list(jobs) == [] and "No trial is complete" in (sweep.directory / "sweep.md").read_text()


def test_a_run_without_the_metric_fails(sweep: Any) -> None:
    job = next(sweep._jobs(9))
    job.claim.close()
    write_run(sweep.directory, "trial-000", {}, {"fit": {"state": "finished", "last": {"train/acc": 0.5}}})
    job.ended(0)
    assert sweep.failed == {"trial-000": "    val/acc is not among its metrics"}


def test_the_best_trial_is_the_first_of_equals_and_a_recipe_without_the_pruning(sweep: Any) -> None:
    own = {"class_path": "src.callbacks.EMA"}
    pruning = {"class_path": "src.studies.trial_pruning.TrialPruning"}
    jobs = sweep._jobs(3)
    for number, value in enumerate((0.5, 0.75, 0.75)):
        job = next(jobs)
        config = {"trainer": {"callbacks": [own, pruning]}, "model": number}
        write_run(sweep.directory, f"trial-{number:03}", config, finished(value))
        job.ended(0)
    text = (sweep.directory / "best.yaml").read_text()
    assert text.startswith("# The best of 3 trials of the sweep s: val/acc 0.7500\n#   lr 0.")
    assert yaml.safe_load(text) == {"format_version": 2, "trainer": {"callbacks": [own]}, "model": 1}


def test_a_sweep_keeps_what_it_began_with(sweep: Any) -> None:
    sweep.prepare()
    sweep.pruner = ["NopPruner"]
    with pytest.raises(UserError, match=r"--pruner.* this study began with others"):
        sweep.prepare()
