"""Configuration files with faults, and of an older format."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from src.cli import config_file
from src.errors import UserError


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"trainer:\n  max_epochs: [1\n", "recipe.yaml, line 3, column 1 is not YAML"),
        (b"a: b: c\n", "recipe.yaml, line 1, column 5 is not YAML"),
        (b"a: 1\na: 2\n", "recipe.yaml, line 2, column 1 is not YAML: the key a is given twice"),
        (b"\xff\xfe\x00", "recipe.yaml is not a text file"),
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
    arguments = ["fit", f"--config={old}", "--config", str(old), f"--config={new}"]
    command, *options = config_file.migrate(arguments, [str(old), str(new), "not_found.yaml"])
    assert (command, options[1], options[3]) == ("fit", "--config", f"--config={new}")
    for content in (options[0].removeprefix("--config="), options[2]):
        assert yaml.safe_load(content)["model"]["net"] == "src.models.SimpleCNN"
