"""Which runs are listed, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.studies.flat_config import flatten
from src.studies.run_record import RunRecord
from src.studies.run_selection import differing, short_names, sort, where


def record(name: str, config: dict[str, Any] | None = None, **metrics: float) -> RunRecord:
    renamed = {key.replace("_", "/"): value for key, value in metrics.items()}
    return RunRecord(Path("logs/r") / name, "r", config=flatten(config or {}), metrics=dict(renamed))


def net(name: str, **arguments: Any) -> dict[str, Any]:
    return {"model": {"net": {"class_path": f"src.models.{name}", "init_args": arguments}}, "fixed": 1}


RUNS = [record("a", net("Wide", width=1), test_acc=0.5, test_loss=1.0), record("b", net("Wide", width=2), test_acc=0.7)]
RUNS += [record("c", net("Deep", depth=3))]


def names(records: list[RunRecord]) -> str:
    return "".join(one.directory.name for one in records)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "abc"),
        (["model.net=Wide"], "ab"),
        (["model.net=src.models.Wide"], "ab"),
        (["model.net=other.Wide"], ""),
        (["model.net.init_args.width=2.0"], "b"),
        (["--model.net.class_path=Deep"], "c"),
        (["model.net=Wide", "test/acc=0.5"], "a"),
        (["state=died"], "abc"),
    ],
)
def test_conditions(conditions: list[str], expected: str) -> None:
    assert names(where(RUNS, conditions)) == expected


@pytest.mark.parametrize(
    ("key", "expected"), [("test/acc", "bac"), ("test/loss", "abc"), ("model.net.width", "abc"), ("run", "abc")]
)
def test_the_best_is_first_and_runs_without_a_value_are_last(key: str, expected: str) -> None:
    assert names(sort(RUNS, key)) == expected


@pytest.mark.parametrize("call", [lambda key: sort(RUNS, key), lambda key: where(RUNS, [f"{key}=1"])])
def test_the_nearest_key_is_suggested(call: Any) -> None:
    with pytest.raises(UserError, match=r"test/ac: no run has such a value; did you mean test/acc\?"):
        call("test/ac")
    with pytest.raises(UserError, match=r"did you mean model\.net\.width\?"):
        call("width")
    with pytest.raises(UserError, match="for example"):
        call("zzz")


@pytest.mark.parametrize("condition", ["model.net", "=3"])
def test_a_malformed_condition_is_refused(condition: str) -> None:
    with pytest.raises(UserError, match="is not KEY=VALUE"):
        where(RUNS, [condition])


def test_an_argument_is_compared_between_the_runs_that_use_its_class() -> None:
    assert differing(RUNS) == ["model.net", "model.net.width"]
    assert differing(RUNS[1:]) == ["model.net"]


def test_short_names_are_unambiguous() -> None:
    keys = ["model.net", "model.net.net", "model.optimizer.lr", "seed"]
    assert short_names(keys) == dict(zip(keys, ["model.net", "net.net", "lr", "seed"], strict=True))
