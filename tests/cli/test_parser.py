"""The paragraph that is made of jsonargparse's messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.cli.parser import Parser, check_yaml, explain
from src.errors import UserError

UNION = """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'src.data.datamodule.ImageDataModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'src.data.Shapes':
        Option 'trainsize' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {}"""


def test_of_a_union_the_one_line_that_helps_is_left() -> None:
    text = explain(UNION)
    assert text == "\"data\": src.data.Shapes: Option 'trainsize' is not accepted; did you mean train_size?"


def test_arguments_that_a_class_passes_on_are_suggested_too() -> None:
    assert explain(UNION.replace("trainsize", "batchsize")).endswith("did you mean batch_size?")


def test_an_unknown_option_gets_the_nearest_of_the_parser() -> None:
    text = explain("unrecognized arguments: --trainer.max_epoch 3", ["trainer.max_epochs", "model.net"])
    assert text.endswith("did you mean trainer.max_epochs?")


def test_arguments_of_a_function_are_suggested() -> None:
    text = explain(
        "Problem with given class_path 'torchvision.models.resnet18':\n  Option 'num_clases' is not accepted"
    )
    assert "did you mean num_classes" in text


def test_an_unknown_class_gets_the_nearest_of_its_module() -> None:
    text = explain("Problem with given class_path 'x':\n  module 'src.models' has no attribute 'DeepNN'")
    assert text.endswith("did you mean DeepCNN?")


def test_where_nothing_is_near_the_few_that_there_are_are_named() -> None:
    text = explain("Problem with given class_path 'src.data.augment.Flip':\n  Option 'zzz' is not accepted")
    assert text.endswith("; there are probability")


def test_types_are_written_as_words() -> None:
    assert explain("Parser key \"a\":\n  Expected a <class 'int'>. Got value: b") == '"a": expected int, not b'
    assert "expected one of 'tail', 'random', not b" in explain(
        "Parser key \"a\":\n  Expected a typing.Literal['tail', 'random']. Got value: b"
    )


def test_other_messages_stay() -> None:
    assert explain("something else") == "something else"


def test_options_are_not_abbreviated() -> None:
    parser = Parser()
    parser.add_argument("--number_of_things", type=int)
    with pytest.raises(UserError, match="did you mean number_of_things"):
        parser.parse_args(["--number_of_thing", "3"])


@pytest.mark.parametrize("content", [b"a: [1\n", b"a: b: c\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"recipe\.yaml"):
        check_yaml(path)
