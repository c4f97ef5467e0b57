"""Configuration files with faults, and of an older format."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace
from torch import nn

from src.cli import config_file
from src.errors import UserError
from src.models import SimpleCNN


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"trainer:\n  max_epochs: [1\n", "recipe.yaml, line 3, column 1 is not YAML"),
        (b"a: b: c\n", "recipe.yaml, line 1, column 5 is not YAML"),
        (b"a: 1\na: 2\n", "recipe.yaml, line 2, column 1 is not YAML: the key a is given twice"),
        (b"\xff\xfe\x00", "recipe.yaml is not a text file in UTF-8"),
        (b"? [a, b]\n: 1\n", "recipe.yaml, line 1, column 3 is not YAML: a key is a list or a mapping"),
        (b"a: " + 5000 * b"[" + 5000 * b"]", "recipe.yaml is not a configuration: it is nested too deeply"),
        (b"- a\n", "recipe.yaml is not a configuration"),
        (b"", "recipe.yaml is not a configuration"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        config_file.read(path)
    assert reason in str(caught.value)


def test_a_file_of_an_older_format_is_replaced_by_its_migrated_content(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("model: {net: src.nets.SimpleCNN}\n")
    new.write_text("model: {net: src.models.SimpleCNN}\n")
    given = [f"--config={old}", "--config", str(old), "-c", str(old), f"-c{old}", f"-c={old}"]
    arguments, files = config_file.resolve(["fit", "--seed_everything", "3", *given, f"--config={new}"])
    assert arguments[:3] == ["fit", "--seed_everything", "3"] and arguments[-1] == f"--config={new}"
    assert files == [*[str(old)] * 5, str(new)]
    for argument in arguments[3:-1]:
        assert yaml.safe_load(argument.removeprefix("--config="))["model"]["net"] == "src.models.SimpleCNN"


@pytest.mark.parametrize("form", ["--config={}", "--config {}", "-c {}", "-c{}", "-c={}"])
def test_a_file_is_found_in_the_home_folder(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file.resolve(form.format("~/a.yaml").split())[0] == [f"--config={tmp_path}/a.yaml"]


def test_the_home_folder_is_inserted_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    part = Namespace(init_args=Namespace(data_dir="~/images", paths=["~", "a~/b"]), number=3)
    assert config_file.expand_home(Namespace(data=part)) == Namespace(
        data=Namespace(init_args=Namespace(data_dir="/home/me/images", paths=["/home/me", "a~/b"]), number=3)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1: 2", "recipe.yaml: the file has the key 1, which is not the name of an argument"),
        ("model: {net: {class_path: a.B, init_args: {true: 1}}}", "model.net.init_args has the key True, which is not"),
        ("data: &a [*a]", "recipe.yaml is not a configuration: a value in it contains itself"),
    ],
)
def test_a_value_that_cannot_be_given_is_refused(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(UserError, match=words):
        config_file.resolve(["fit", f"--config={tmp_path}/recipe.yaml"])


def test_mappings_without_arguments_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("""
trainer:
#  max_epochs: 3
model:
  net:
    class_path: src.models.SimpleCNN
    init_args:
      # width: 3
  lr_scheduler: null
data:
  init_args: {augment: [{class_path: Flip, init_args: null}], mix: null, sizes: {0: 1}}
""")
    arguments, _ = config_file.resolve(["fit", f"--config={path}"])
    assert yaml.safe_load(arguments[1].removeprefix("--config=")) == {
        "format_version": 2,
        "model": {"net": {"class_path": "src.models.SimpleCNN"}, "lr_scheduler": None},
        "data": {"init_args": {"augment": [{"class_path": "Flip"}], "mix": None, "sizes": {0: 1}}},
    }


def test_the_names_in_a_content_that_is_too_long_for_a_path(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"trainer:\ndata: {{class_path: a.B, init_args: {{data_dir: {'x' * 300}}}}}\n")
    assert "data.data_dir" in config_file.names_given(config_file.resolve(["fit", f"--config={path}"])[0])


class WithPartial(SimpleCNN):
    """Its default cannot be written to a configuration file."""

    def __init__(self, norm: Callable[[], nn.Module] = functools.partial(nn.Identity, 1), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(**kwargs)
        self.norm = norm()


@pytest.mark.slow
def test_a_default_that_cannot_be_saved_is_left_out(cli: Callable[..., None], tiny: list[str]) -> None:
    net = [argument.replace("src.models.SimpleCNN", f"{__name__}.WithPartial") for argument in tiny]
    cli("fit", *net, "--trainer.default_root_dir=run", "--test_after_fit=false")
    saved = yaml.safe_load(Path("run/config.yaml").read_text())["model"]["net"]["init_args"]
    assert "norm" not in saved and saved["image_size"] == 12
    cli("fit", "--resume=run", "--trainer.max_epochs=2", "--test_after_fit=false")


def for_tiny_images(**kwargs: Any) -> SimpleCNN:
    """Refuses another size than its own, as functions of torchvision do with their arguments."""
    if kwargs.setdefault("image_size", 12) != 12:
        raise ValueError("image_size must be 12")
    return SimpleCNN(**kwargs)


@pytest.mark.slow
def test_the_defaults_of_what_a_function_takes_as_kwargs_are_left_to_it(
    cli: Callable[..., None], tiny: list[str]
) -> None:
    others = [argument for argument in tiny if not argument.startswith("--model.net")]
    net = [f"--model.net={__name__}.for_tiny_images", "--model.net.num_classes=10"]
    cli("fit", *others, *net, "--trainer.default_root_dir=run", "--test_after_fit=false")
    saved = yaml.safe_load(Path("run/config.yaml").read_text())["model"]["net"]["init_args"]
    assert saved == {"num_classes": 10}


def test_the_names_that_a_recipe_and_the_command_line_give(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "seed_everything: 1\nmodel:\n  net:\n    class_path: src.models.DeepCNN\n    init_args:\n      channels: 3\n"
    )
    given = config_file.names_given(
        ["fit", f"--config={path}", "--data", "Shapes", "--data.init_args.batch_size=6", "--data.augment+=Flip"]
    )
    assert given == {"seed_everything", "model.net", "model.net.channels", "data", "data.batch_size", "data.augment"}
    assert config_file.names_given(["--config=data: {seed: 1}"]) == {"data.seed"}
