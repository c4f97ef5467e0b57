"""The trials of a sweep as a table, and the best one as a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
import yaml
from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

from src.runtime import run_directory
from src.studies.flat_config import as_text
from src.studies.optuna_study import PRUNING, settings_of
from src.studies.run_selection import short_names
from src.studies.tables import markdown

BEST = "best.yaml"


def write(directory: Path, study: optuna.Study) -> str:
    """Writes sweep.md and best.yaml; returns the text of sweep.md. No times: a sweep that was interrupted has the same
    text."""
    metric, trials = settings_of(directory)["metric"], study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    best = min(complete, key=lambda trial: (sign * trial.value, trial.number), default=None)
    text = "\n".join(_lines(directory.name, metric, trials, best))
    run_directory.write_text(directory / "sweep.md", text)
    if best:
        head = f"# The best of {len(trials)} trials of the sweep {directory.name}: {metric} {best.value:.4f}\n"
        head += "".join(f"#   {key} {_text(value)}\n" for key, value in best.params.items())
        head += f"#   python -m src fit --config {directory / BEST}\n"
        run_directory.write_text(directory / BEST, head + _recipe(directory / f"trial-{best.number:03}"))
    return text


def _lines(name: str, metric: str, trials: list[Any], best: Any) -> Iterator[str]:
    yield f"# Sweep {name}"
    yield ""
    yield f"The best trial is {best.number}, as the recipe `{BEST}`." if best else "No trial is complete."
    yield ""
    keys = short_names(list(dict.fromkeys(key for trial in trials for key in trial.params)))
    yield from markdown(("trial", "state", metric, *keys.values()), (_row(trial, keys) for trial in trials))


def _row(trial: Any, keys: Iterable[str]) -> list[object]:
    after = f" after epoch {trial.last_step + 1}" if trial.state == TrialState.PRUNED else ""
    value = "" if trial.value is None else f"{trial.value:.4f}"
    params = [_text(trial.params[key]) if key in trial.params else "" for key in keys]
    return [trial.number, trial.state.name.lower() + after, value, *params]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else as_text(value)


def _recipe(run: Path) -> str:
    """The configuration of a run, without what the sweep has added."""
    config = yaml.safe_load((run / run_directory.CONFIG).read_text())
    callbacks = [one for one in config["trainer"].get("callbacks") or () if one["class_path"] != PRUNING]
    config["trainer"]["callbacks"] = callbacks or None
    return yaml.safe_dump(config, sort_keys=False)
