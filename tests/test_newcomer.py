"""From the README to a network of one's own that trains on one's own images, as a newcomer would do it.

The script reads files, edits files and runs commands. What it types must occur in what it has read, and it reads none
of the machinery. `pytest tests/test_newcomer.py -s` prints the files read and their lines.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.documents import blocks, project_copy, run_steps

MACHINERY = ("src/runtime/", "src/cli/", "src/data/storage/")


class Newcomer:
    """Someone in a fresh clone.

    Attributes:
        lines: the files and help texts read, and their lines.
    """

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.lines: dict[str, int] = {}
        self._text = ""

    def reads(self, path: str) -> str:
        assert not path.startswith(MACHINERY), f"{path} is machinery"
        return self._remembers(path, (self.clone / path).read_text())

    def reads_help(self, *arguments: str) -> None:
        self._knows(*arguments)
        output = run_steps(self.clone, [("src", list(arguments))])
        self._remembers(f"python -m src {' '.join(arguments)}", output)

    def writes(self, path: str, text: str) -> None:
        assert not path.startswith(MACHINERY), f"{path} is machinery"
        (self.clone / path).write_text(text)

    def runs(self, *commands: str) -> str:
        self._knows(*(word for command in commands for word in command.split()))
        return run_steps(self.clone, [("src", command.removeprefix("python -m src ").split()) for command in commands])

    def _remembers(self, name: str, text: str) -> str:
        self.lines[name] = len(text.splitlines())
        self._text += text
        return text

    def _knows(self, *words: str) -> None:
        """Every subcommand and every option was read somewhere, the option as --a.b.c or as the key c."""
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"\b{word.rpartition('.')[2].lstrip('-')}\b", self._text), f"{word} was not read"


@pytest.mark.slow
def test_from_readme_to_own_network_on_own_images(tmp_path: Path) -> None:
    newcomer = Newcomer(project_copy(tmp_path))  # with three classes of images in my_images

    # README has a network of ten lines, and a command for images of one's own.
    readme = newcomer.reads("README.md")
    network = next(block for block in blocks(readme) if block.file == "src/models/my_net.py").text
    newcomer.writes("src/models/my_net.py", network.replace("kernel_size=5", "kernel_size=3"))
    newcomer.runs(
        "python -m src fit --config configs/folder.yaml --data.data_dir my_images "
        "--model.net src.models.my_net.MyNet --model.net.num_classes 3"
    )

    # A recipe of one's own is a copy of that one. Its keys are explained by the help of their class.
    recipe = yaml.safe_load(newcomer.reads("configs/folder.yaml"))
    newcomer.reads_help("fit", "--data.help", "src.data.ImageFolder")
    recipe["model"]["net"] = {"class_path": "src.models.my_net.MyNet", "init_args": {"num_classes": 3, "width": 32}}
    recipe["data"]["init_args"].update(data_dir="my_images", image_size=32, batch_size=8, test_fraction=0.2)
    newcomer.writes("configs/mine.yaml", yaml.safe_dump(recipe))
    newcomer.runs("python -m src fit --config configs/mine.yaml")

    # docs/runs.md says where the results are, and how to test again.
    newcomer.reads("docs/runs.md")
    newcomer.runs("python -m src test --run mine", "python -m src predict --run mine")
    (run,) = (tmp_path / "logs/mine").iterdir()
    results = json.loads((run / "results.json").read_text())
    assert {"checkpoints", "predictions.csv", "confusion_matrix.png"} <= {path.name for path in run.iterdir()}
    assert results["test"]["test/acc"] > 0.9

    for name, lines in newcomer.lines.items():
        print(f"{lines:5}  {name}")
    total = sum(newcomer.lines.values())
    print(f"{total:5}  lines read in all")
    assert total <= 350
