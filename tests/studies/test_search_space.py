"""What a file of a search space means."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.sweep
optuna = pytest.importorskip("optuna")


def read(tmp_path: Path, text: str) -> dict[str, object]:
    from src.studies import search_space

    (tmp_path / "space.yaml").write_text(text)
    return search_space.read(tmp_path / "space.yaml")


def test_ranges_and_choices(tmp_path: Path) -> None:
    text = """
    width: {low: 16, high: 64, step: 16}
    lr: {low: 1e-4, high: 1, log: true}
    dropout: {low: 0, high: 0.5, step: 0.1}
    bias: [true, null, 3, "SGD"]
    augment: [[], [{class_path: src.data.augment.Flip}]]
    """
    of = optuna.distributions
    assert read(tmp_path, text) == {
        "width": of.IntDistribution(16, 64, step=16),
        "lr": of.FloatDistribution(1e-4, 1.0, log=True),
        "dropout": of.FloatDistribution(0, 0.5, step=0.1),
        "bias": of.CategoricalDistribution([True, None, 3, "SGD"]),
        "augment": of.CategoricalDistribution(["[]", '[{"class_path": "src.data.augment.Flip"}]']),
    }


def test_examples_have_each_choice(tmp_path: Path) -> None:
    from src.studies.search_space import as_arguments, examples

    found = examples(read(tmp_path, "net: [A, B, C]\nbias: [true, null]\nwidth: {low: 1, high: 9}"))
    assert [as_arguments(one) for one in found] == [
        ["--net=A", "--bias=true", "--width=1"],
        ["--net=B", "--bias=null", "--width=1"],
        ["--net=C", "--bias=null", "--width=1"],
    ]
