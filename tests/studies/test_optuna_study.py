"""The values that a sweep proposes do not depend on where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from src.errors import UserError

pytestmark = pytest.mark.sweep
optuna = pytest.importorskip("optuna")

VALUES = {
    "a": optuna.distributions.FloatDistribution(0, 1),
    "b": optuna.distributions.IntDistribution(1, 99),
    "c": optuna.distributions.CategoricalDistribution(["x", "y", "z"]),
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "found").mkdir()
    return tmp_path / "found"


def study_in(directory: Path, sampler: list[str], **more: object) -> Any:
    from src.studies.optuna_study import SETTINGS, open_study

    settings = {"sampler": sampler, "pruner": ["NopPruner"], "storage": None, "seed": 3, "mode": "max", **more}
    (directory / SETTINGS).write_text(yaml.safe_dump(settings))
    return open_study(directory)


@pytest.mark.parametrize(
    "sampler", [["RandomSampler"], ["TPESampler", "n_startup_trials=2"], ["TPESampler", "multivariate=true"]]
)
@pytest.mark.filterwarnings("ignore:Argument ``multivariate`` is an experimental")
def test_an_interrupted_sweep_proposes_the_same_values(directory: Path, sampler: list[str]) -> None:
    from src.studies.optuna_study import trial_of
    from src.studies.search_space import suggest

    def propose(interrupted: bool) -> list[dict[str, object]]:
        study = study_in(directory, sampler)
        for number in range(5):
            trial = study.ask()
            if interrupted:  # between two keys, and with a study that is opened again
                suggest(trial, {"a": VALUES["a"]})
                study = study_in(directory, sampler)
                trial = trial_of(study, number)
            values = suggest(trial, VALUES)
            study.tell(number, values["a"] + values["b"])
        (directory / "sweep.db").unlink()
        return [trial.params for trial in study.trials]

    undisturbed = propose(False)
    assert propose(True) == undisturbed
    assert len({str(params) for params in undisturbed}) == 5


def test_keys_of_a_trial_have_random_numbers_of_their_own(directory: Path) -> None:
    from src.studies.search_space import suggest

    study = study_in(directory, ["RandomSampler"])
    values = suggest(study.ask(), {"a": VALUES["a"], "d": VALUES["a"]})
    assert values["a"] != values["d"]


def test_a_storage_keeps_the_sweeps_of_two_directories_apart(directory: Path, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/shared.db"
    study_in(directory, ["RandomSampler"], storage=storage)
    study_in(directory, ["RandomSampler"], storage=storage)
    (tmp_path / "other/found").mkdir(parents=True)
    with pytest.raises(UserError, match=r"has a study found of .*give another --name"):
        study_in(tmp_path / "other/found", ["RandomSampler"], storage=storage)


def test_a_storage_that_cannot_be_opened(directory: Path) -> None:
    with pytest.raises(UserError, match=r"--storage sqlite:///nowhere/x\.db: .*unable to open"):
        study_in(directory, ["RandomSampler"], storage="sqlite:///nowhere/x.db")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Nothing"], "--sampler Nothing does not exist in optuna.samplers; choose from .*TPESampler"),
        (["TPESampler", "n_startup=3"], "--sampler TPESampler n_startup=3: .*unexpected keyword"),
        (["BaseSampler"], "does not exist"),
    ],
)
def test_wrong_names(words: list[str], message: str) -> None:
    from src.studies.optuna_study import by_name

    with pytest.raises(UserError, match=message):
        by_name(optuna.samplers, words)
