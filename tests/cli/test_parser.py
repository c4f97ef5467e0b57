"""Errors of the parser as one paragraph."""

from __future__ import annotations

import pytest
from torch import nn

from src.cli.explanation import explain
from src.cli.parser import Parser, has_argument
from src.data import ImageDataModule
from src.errors import UserError


def error_of(*arguments: str) -> str:
    """The paragraph for a command line with a number of epochs, a network and a dataset."""
    parser = Parser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--trainer.max_epochs", type=int | None)
    parser.add_argument("--trainer.devices", type=int | float)
    parser.add_subclass_arguments(nn.Module, "net")
    parser.add_argument("--data", type=ImageDataModule | None)
    with pytest.raises(UserError) as caught:
        parser.parse_args(list(arguments))
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--trainer.max_epoch=3", "unrecognized arguments: --trainer.max_epoch=3; did you mean trainer.max_epochs"),
        ("--trainer.max_epochs=x", "trainer.max_epochs: expected int or null, not x"),
        ("--trainer.devices=x", "trainer.devices: expected int or float, not x"),
        ("--config=nope.yaml", "config: File does not exist: "),
        ("--data=Shaps", "data: Shaps is not a class path; did you mean Shapes?"),
        ("--data=src.dat.Shapes", "data (src.dat.Shapes): module 'src' has no attribute 'dat'; did you mean data"),
        ("--net=torchvison.Net", "net (torchvison.Net): No module named 'torchvison'; did you mean torchvision"),
        ("--data=src.data.Shpes", "data (src.data.Shpes): module 'src.data' has no attribute 'Shpes'; did you mean"),
        ("--data=src.data.Shapes --data.batchsize=3", "Option 'batchsize' is not accepted; did you mean batch_size?"),
        ("--data=src.data.Shapes --data.batch_size=x", "data.batch_size (src.data.Shapes): expected int, not x"),
        (
            "--data=src.data.Shapes --data.split=tial",
            "data.split (src.data.Shapes): expected one of 'tail', 'random', 'stratified', 'hash', not tial",
        ),
        (
            "--data=src.data.Shapes --data.augment+=src.data.augment.Flip --data.augment.probabilty=1",
            "data.augment (src.data.augment.Flip): Option 'probabilty' is not accepted; did you mean probability?",
        ),
        (
            "--net=torchvision.models.resnet18 --net.num_clases=10",
            "net (torchvision.models.resnet18): Option 'num_clases' is not accepted; did you mean num_classes",
        ),
        (
            "--net=torch.nn.Linear --net.zzz=1",
            "Option 'zzz' is not accepted; choose from in_features, out_features, bias, device, dtype",
        ),
        ("--net=collections.OrderedDict", "net: Import path collections.OrderedDict does not correspond to a subclass"),
    ],
)
def test_an_error_is_one_paragraph_with_key_class_and_nearest_name(arguments: str, text: str) -> None:
    error = error_of(*arguments.split())
    assert text in error
    assert "\n" not in error


def test_the_error_of_a_constructor_is_not_reworded() -> None:
    outer = ValueError("width 3 is too small for two heads")
    outer.__cause__ = ZeroDivisionError("division by zero")
    assert explain(outer) == "width 3 is too small for two heads"


def test_a_fault_in_the_wording_shows_the_original_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(error: BaseException) -> str:
        raise AttributeError("'function' object has no attribute '__mro__'")

    monkeypatch.setattr("src.cli.parser.explain", broken)
    assert error_of("--data=3").startswith('Parser key "data": ')


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
