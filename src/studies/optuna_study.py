"""The study of Optuna's in which a sweep keeps its trials."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
import yaml
from optuna.samplers import BaseSampler  # pyright: ignore[reportMissingImports]

from src.errors import UserError, did_you_mean

PRUNING = "src.studies.trial_pruning.TrialPruning"
SETTINGS = "sweep.yaml"  # in the directory of the sweep: its options, and the metric
PRUNED = "pruned"  # the attribute of a trial that its pruner has decided to end

optuna.logging.set_verbosity(optuna.logging.WARNING)


class RepeatableSampler(BaseSampler):
    """A sampler whose random numbers depend on the seed of the sweep, the number of the trial and the key alone: a
    sweep that was killed proposes the values of an undisturbed one. `words` name a class and its arguments."""

    def __init__(self, words: Sequence[str], seed: int) -> None:
        self.words, self.seed = words, seed

    def _of(self, trial: Any, key: str = "") -> Any:
        seed = random.Random(f"{self.seed} {trial.number} {key}").randrange(2**32)
        return by_name(optuna.samplers, self.words, seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self._of(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self._of(trial).after_trial(study, trial, state, values)


def by_name(module: ModuleType, words: Sequence[str], seed: int | None = None) -> Any:
    """A class of `optuna.samplers` or `optuna.pruners`, built with arguments that are given as KEY=VALUE, and with the
    seed if it takes one. Raises UserError if the name or an argument is wrong."""
    name, *pairs = words
    kind = module.__name__.rpartition(".")[2].removesuffix("s")
    names = [one for one in module.__all__ if one.lower().endswith(kind) and not one.startswith("Base")]
    if name not in names:
        raise UserError(f"--{kind} {name} does not exist in {module.__name__}; {did_you_mean(name, names)}")
    class_ = getattr(module, name)
    arguments = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    if seed is not None and "seed" in inspect.signature(class_).parameters:
        arguments = {"seed": seed, **arguments}
    try:
        return class_(**arguments)
    except (ImportError, TypeError, ValueError) as error:
        raise UserError(f"--{kind} {' '.join(words)}: {' '.join(str(error).split())}") from error


def settings_of(directory: Path) -> dict[str, Any]:
    """Those of the sweep in a directory."""
    return yaml.safe_load((directory / SETTINGS).read_text())


def open_study(directory: Path, sampler: Any = None) -> optuna.Study:
    """The study of the sweep in a directory; creates it in the storage. Raises UserError if that cannot be opened, or
    the study in it belongs to another directory."""
    settings, path = settings_of(directory), str(directory.resolve())
    try:
        study = optuna.create_study(
            study_name=directory.name,
            storage=settings["storage"] or f"sqlite:///{path}/sweep.db",
            sampler=sampler or RepeatableSampler(settings["sampler"], settings["seed"]),
            pruner=by_name(optuna.pruners, settings["pruner"]),
            direction="maximize" if settings["mode"] == "max" else "minimize",
            load_if_exists=True,
        )
    except UserError:
        raise
    except Exception as error:  # those of SQLAlchemy and of the driver of a database
        raise UserError(f"--storage {settings['storage']}: {' '.join(str(error).split())}") from error
    if settings["storage"]:
        if study.user_attrs.get("directory", path) != path:
            raise UserError(
                f"--storage {settings['storage']} has a study {directory.name} of {study.user_attrs['directory']}; "
                "give another --name"
            )
        study.set_user_attr("directory", path)
    return study


def trial_of(study: optuna.Study, number: int) -> optuna.Trial:
    """A trial that has begun."""
    return optuna.Trial(study, study.get_trials(deepcopy=False)[number]._trial_id)
