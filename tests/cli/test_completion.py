"""What completes recipes in editors and commands in bash."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.cli import completion
from src.cli.overview import SUBCOMMANDS
from tests.conftest import ROOT

RECIPE = yaml.safe_load((ROOT / "configs/cifar10.yaml").read_text())


@pytest.fixture(scope="module")
def printed() -> Callable[[str], str]:
    """The output of `python -m src completion KIND`."""
    outputs: dict[str, str] = {}

    def output(kind: str) -> str:
        if kind not in outputs:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("builtins.print", lambda text: outputs.update({kind: text}))
                completion.complete([kind])
        return outputs[kind]

    return output


def test_the_schema_has_the_arguments_of_classes_and_is_small(printed: Callable[[str], str]) -> None:
    text = printed("jsonschema")
    schema = json.loads(text)
    assert set(schema["properties"]) == {"format_version", "seed_everything", "trainer", "model", "data"}
    known = {each.get("properties", {}).get("class_path", {}).get("const") for each in classes(schema, "Module")}
    assert known >= {"src.models.SimpleCNN", "src.models.DeepCNN"}
    assert len(text) < 400_000


def classes(schema: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return schema["$defs"][kind]["anyOf"]


def test_a_missing_package_is_named(fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "find_spec", lambda name: None)
    assert "uv pip install shtab" in fails("completion", "bash")


@pytest.mark.docs
def test_every_recipe_is_valid(printed: Callable[[str], str]) -> None:
    from jsonschema import Draft202012Validator  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

    schema = json.loads(printed("jsonschema"))
    Draft202012Validator.check_schema(schema)
    paths = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(paths) > 10
    for path in paths:
        assert [*Draft202012Validator(schema).iter_errors(yaml.safe_load(path.read_text()))] == [], path


@pytest.mark.docs
@pytest.mark.parametrize(
    ("keys", "value", "valid"),
    [
        (("trainer", "max_epoch"), 3, False),
        (("trainer", "max_epochs"), "three", False),
        (("model", "net", "init_arg"), {}, False),
        (("model", "lr_scheduler", "init_args", "warm"), 0.1, False),
        (("data", "init_args", "batchsize"), 100, False),
        (("data", "init_args", "batch_size"), 100, True),
        (("data", "init_args", "split"), "randomly", False),
        (("model", "net"), {"class_path": "my_net.MyNet", "init_args": {"width": 3}}, True),
        (("model", "net"), {"class_path": "my_net.MyNet", "init_arg": {"width": 3}}, False),
        (("model", "net"), "my_net.MyNet", True),
    ],
)
def test_a_mistyped_key_is_refused(
    keys: tuple[str, ...], value: object, valid: bool, printed: Callable[[str], str]
) -> None:
    from jsonschema import Draft202012Validator  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

    recipe: dict[str, Any] = json.loads(json.dumps(RECIPE))
    node = recipe
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    assert Draft202012Validator(json.loads(printed("jsonschema"))).is_valid(recipe) == valid


@pytest.mark.docs
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("python -m src ", set(SUBCOMMANDS)),
        (".venv/bin/python -m src stu", {"study"}),
        ("python ../template/src va", {"validate"}),
        ("python -m src fit --data.batch", {"--data.batch_size"}),
        (
            "python -m src fit --model.optimizer torch.optim.AdamW --model.optimizer.weight",
            {"--model.optimizer.weight_decay"},
        ),
        ("python -m src fit --model.net src.models.Si", {"src.models.SimpleCNN"}),
        ("python -m src doctor --dup", {"--duplicates"}),
        ("python -m src study --see", {"--seed_everything", "--seeds"}),
        (
            "python -m src fit --trainer.default_callbacks.checkpoints.every_n_s",
            {"--trainer.default_callbacks.checkpoints.every_n_steps"},
        ),
        ("python -m other ", set()),
    ],
)
def test_bash_completes(words: str, expected: set[str], printed: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "src.bash").write_text(printed("bash"))
    script = f"""
source {tmp_path}/src.bash
words=$1
read -ra COMP_WORDS <<< "$words"
[[ $words == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE=$words; COMP_POINT=${{#words}}
complete -p python > /dev/null
_python_m_src python "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script, "bash", words], capture_output=True, text=True, check=True)
    assert {line.strip() for line in done.stdout.splitlines()} - {""} == expected, done.stderr
    assert len(printed("bash")) < 400_000
