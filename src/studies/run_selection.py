"""Which runs are listed, in which order, and what differs between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from src.errors import UserError
from src.studies.flat_config import ClassPath, as_text
from src.studies.run_record import RunRecord


def where(records: Sequence[RunRecord], conditions: Iterable[str]) -> list[RunRecord]:
    """The runs that meet all conditions `KEY=VALUE`, with a key of the configuration, a metric or a column; a class by
    its name or path. Raises UserError if one is not of this form, or no run has its key."""
    selected = list(records)
    for condition in conditions:
        key, separator, value = condition.partition("=")
        key = key.removeprefix("--").replace(".init_args", "").replace(".dict_kwargs", "").removesuffix(".class_path")
        if not separator or not key:
            raise UserError(f"--where {condition} is not KEY=VALUE; for example --where model.net=SimpleCNN")
        _check_key("--where", key, records)
        selected = [one for one in selected if key in one.values() and _equals(one.values()[key], value)]
    return selected


def _equals(value: Any, text: str) -> bool:
    if isinstance(value, ClassPath):
        return text in (value, value.name)
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return as_text(value) == text


def sort(records: Sequence[RunRecord], key: str) -> list[RunRecord]:
    """By a metric, the best first; by any other key from small to large. Runs without a value are last. Raises
    UserError if no run has the key."""
    key = key.removeprefix("--").replace(".init_args", "").replace(".dict_kwargs", "")
    _check_key("--sort", key, records)
    metrics = {name for record in records for name in record.metrics}
    sign = -1 if key in metrics and "loss" not in key and "error" not in key else 1

    def rank(record: RunRecord) -> tuple[int, float, str]:
        value = record.values().get(key)
        if value is None:
            return 2, 0.0, ""
        return (0, sign * value, "") if isinstance(value, int | float) else (1, 0.0, as_text(value))

    return sorted(records, key=rank)


def _check_key(option: str, key: str, records: Sequence[RunRecord]) -> None:
    known = dict.fromkeys(name for record in records for name in record.values())
    if records and key not in known:
        near = difflib.get_close_matches(key, known, n=1) or [one for one in known if one.endswith(f".{key}")]
        advice = f"did you mean {near[0]}?" if near else "for example test/acc, seconds or model.net"
        raise UserError(f"{option} {key}: no run has such a value; {advice}")


def differing(records: Sequence[RunRecord]) -> list[str]:
    """The keys of the configuration with more than one value among the runs that have the key: an argument of a class
    is compared between the runs that use the class."""
    seen: dict[str, list[Any]] = {}
    for record in records:
        for key, value in record.config.items():
            values = seen.setdefault(key, [])
            if value not in values:
                values.append(value)
    return [key for key, values in seen.items() if len(values) > 1]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest end of each dotted key that no other one ends in."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[start:]) for start in reversed(range(len(parts)))]
        names[key] = next(
            end for end in ends if end == key or not any(f".{one}".endswith(f".{end}") for one in keys if one != key)
        )
    return names
