"""The search space of a sweep: the values that configuration keys may have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna  # pyright: ignore[reportMissingImports]
import yaml
from optuna.distributions import (  # pyright: ignore[reportMissingImports]
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.errors import UserError
from src.studies.flat_config import as_text

Space = dict[str, BaseDistribution]

FORM = "a list of choices, or {low: ..., high: ...}, also with log: true or step: ..."


def read(path: Path) -> Space:
    """Reads a file of keys with their values. Raises UserError if it is not one."""
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise UserError(f"--space {path} is not a file of configuration keys, each with {FORM}")
    space = {}
    for key, values in content.items():
        try:
            space[str(key)] = _distribution(values)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: {key} {values} is not {FORM}: {' '.join(str(error).split())}") from error
    return space


def _distribution(values: Any) -> BaseDistribution:
    """Raises TypeError or ValueError if it is not of the form."""
    if isinstance(values, list):
        if not values:
            raise ValueError("the list is empty")
        scalar = (str, int, float, type(None))
        return CategoricalDistribution([one if isinstance(one, scalar) else json.dumps(one) for one in values])
    if not isinstance(values, dict):
        raise TypeError("it is one value")
    # YAML takes 1e-4 for a text.
    values = {name: float(value) if isinstance(value, str) else value for name, value in values.items()}
    numbers = [value for name, value in values.items() if name != "log"]
    whole = all(isinstance(value, int) for value in numbers)
    return IntDistribution(**values) if whole else FloatDistribution(**values)


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """The values of a trial: those that it has, and new ones for the other keys."""
    return {key: _suggest(trial, key, values) for key, values in space.items()}


def _suggest(trial: optuna.Trial, key: str, values: Any) -> Any:
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(key, values.choices)
    suggest = trial.suggest_int if isinstance(values, IntDistribution) else trial.suggest_float
    return suggest(key, values.low, values.high, step=values.step, log=values.log)


def examples(space: Space) -> list[dict[str, Any]]:
    """Values in which each choice, and the lowest value of each range, occurs."""
    lists: dict[str, Sequence[Any]] = {
        key: values.choices if isinstance(values, CategoricalDistribution) else [values.low]
        for key, values in space.items()
    }
    longest = max(map(len, lists.values()))
    return [{key: values[min(number, len(values) - 1)] for key, values in lists.items()} for number in range(longest)]


def as_arguments(values: dict[str, Any]) -> list[str]:
    """Values on the command line, in the order of the file: a class comes before its arguments."""
    return [f"--{key}={as_text(value)}" for key, value in values.items()]
