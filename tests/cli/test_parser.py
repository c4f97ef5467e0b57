"""Errors of the parser as one paragraph."""

from __future__ import annotations

import pytest

from src.cli.explanation import explain
from src.cli.parser import Parser, has_argument
from src.data import ImageDataModule
from src.errors import UserError


def test_the_error_of_a_constructor_is_not_reworded() -> None:
    outer = ValueError("width 3 is too small for two heads")
    outer.__cause__ = ZeroDivisionError("division by zero")
    assert explain(outer) == "width 3 is too small for two heads"


def test_a_fault_in_the_wording_shows_the_original_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(error: BaseException) -> str:
        raise AttributeError("'function' object has no attribute '__mro__'")

    monkeypatch.setattr("src.cli.parser.explain", broken)
    parser = Parser()
    parser.add_argument("--data", type=ImageDataModule | None)
    with pytest.raises(UserError, match=r'^Parser key "data": '):
        parser.parse_args(["--data=3"])


@pytest.mark.parametrize(
    ("class_path", "expected"),
    [
        ("src.models.SimpleCNN", True),
        ("torchvision.models.resnet18", True),  # by its **kwargs
        ("torchvision.models.alexnet", True),  # also the name of its module
        ("torch.nn.Flatten", False),
        ("torchvision.models.resnet.conv3x3", False),
    ],
)
def test_arguments_of_a_class_path(class_path: str, expected: bool) -> None:
    assert has_argument(class_path, "num_classes") is expected
