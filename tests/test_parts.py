"""Parts of other packages, and the page that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.parts import PACKAGES, PAGE, PARTS, Part, outcome, row, same


@pytest.mark.slow
@pytest.mark.parts
@pytest.mark.filterwarnings("default")  # those of other packages
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_a_part_does_what_the_page_says(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    monkeypatch.chdir(ROOT)
    assert row(part, outcome(part, tmp_path)) in PAGE.read_text().splitlines()


def test_the_page_lists_every_part() -> None:
    text = PAGE.read_text()
    assert [part for part in PARTS if f"| `{part}` | " not in text] == []
    assert text.count("\n| `") == len(PARTS)


def test_the_options_of_a_part() -> None:
    part = Part("Schedules", "torch.optim.lr_scheduler.StepLR", ("step_size=3",), ("--trainer.max_epochs=1",))
    assert part.options()[-3:] == [
        "--model.lr_scheduler=torch.optim.lr_scheduler.StepLR",
        "--model.lr_scheduler.step_size=3",
        "--trainer.max_epochs=1",
    ]
    assert "--trainer.callbacks+=a.B" in Part("Callbacks", "a.B").options()


def test_states_are_compared_by_every_bit() -> None:
    state = {"a": [torch.tensor([1.0, float("nan")]), 3, None]}
    assert same(state, {"a": [torch.tensor([1.0, float("nan")]), 3, None]})
    assert not same(state, {"a": [torch.tensor([1.0 + 1e-7, float("nan")]), 3, None]})
    assert not same(state, {"a": [torch.tensor([1.0, float("nan")]), 3]})
    assert not same(state, {"b": state["a"]})
