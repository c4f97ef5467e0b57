"""`python -m src results`: a page that keeps its runs, and that says so where a recipe has changed since."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from src.studies import recipe_results, results_page
from tests.conftest import ROOT, TINY
from tests.studies.runs import finished, write_run

RECIPE = """# A recipe.
#
#   result   not measured yet
#   time     not measured yet
#   command  python -m src fit --config mine.yaml
model:
  optimizer: {class_path: torch.optim.SGD, init_args: {lr: 0.01}}
"""
ARGUMENTS = [one for one in TINY if not one.startswith(("--data.", "--data=", "--model."))]
DATA = """data:
  class_path: src.data.Shapes
  init_args: {train_size: 120, test_size: 40, image_size: 12, val_fraction: 0.2, batch_size: 24}
"""
NET = "  net: {class_path: src.models.SimpleCNN, init_args: {image_size: 12}}\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE + NET + DATA + "trainer: {max_epochs: 1}\n")
    return path


@pytest.fixture
def fit(cli: Callable[..., None]) -> Callable[..., None]:
    def run(name: str, *more: str) -> None:
        cli("fit", "--config=mine.yaml", *ARGUMENTS, f"--trainer.default_root_dir=logs/mine/{name}", *more)

    return run


@pytest.fixture
def results(cli: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Makes the page; returns what is printed."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli("results", "--page=results.md", *arguments)
        assert not stop.value.code
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_the_page_keeps_runs_whose_directories_are_gone(
    recipe: Path, fit: Callable[..., None], results: Callable[..., str], tmp_path: Path
) -> None:
    assert "0 of 1 recipes have results" in results("--config", "mine.yaml")
    page = tmp_path / "results.md"
    assert "| [`mine`](mine.yaml) | missing |" in page.read_text()
    fit("a")
    assert "logs/mine/a: added\n1 of 1 recipes" in results("logs")
    shutil.rmtree("logs")
    assert "(one seed)\n" in recipe.read_text()
    fit("b", "--seed_everything=1", "--trainer.callbacks+=src.callbacks.SamplePredictions")
    assert "logs/mine/b: added" in results("logs/mine/b")
    assert " | 0, 1 | " in page.read_text() and "(2 seeds)\n" in recipe.read_text()
    # A convolution of 12 x 12 x 32 values of 27 products, and layers of 1152 x 512 and 512 x 10; 4 steps of 24 images.
    assert "| 0.719 million | 6.91e-05 trillion |" in page.read_text()
    before = page.read_text(), recipe.read_text(), (tmp_path / "results.json").read_text()
    assert "logs/mine/b: is known" in results("logs")
    assert (page.read_text(), recipe.read_text(), (tmp_path / "results.json").read_text()) == before


@pytest.mark.slow
def test_runs_of_another_configuration_are_left_out(
    recipe: Path, fit: Callable[..., None], results: Callable[..., str], tmp_path: Path
) -> None:
    fit("other", "--model.label_smoothing=0.1")
    fit("untested", "--test_after_fit=false")
    fit("images", "--data.image_seed=5")
    printed = results("logs", "--config", "mine.yaml")
    assert (
        "logs/mine/other: left out, as it is of another configuration than mine.yaml: model.label_smoothing 0.1"
        in printed
    )
    assert "logs/mine/untested: left out, as it is not finished and tested" in printed
    assert "data.image_seed 5 instead of " in printed and "0 of 1 recipes" in printed
    fit("a")
    results("logs/mine/a")
    recipe.write_text(recipe.read_text().replace("lr: 0.01", "lr: 0.02"))
    results()
    page = (tmp_path / "results.md").read_text()
    assert "| missing |" in page
    assert (
        "`mine` has changed since 1 of its runs, which do not count: model.optimizer.lr 0.01 instead of 0.02." in page
    )
    (tmp_path / "logs/mine/a/results.json").write_text("{")
    assert "logs/mine/a: left out: logs/mine/a/results.json cannot be read" in results("logs/mine/a")


def test_runs_of_other_recipes_are_left_out(recipe: Path, results: Callable[..., str], tmp_path: Path) -> None:
    write_run(tmp_path / "logs", "yours/a", {}, finished(0.5))
    assert "logs/yours/a: left out: its recipe is not in the table" in results("logs", "--config", "mine.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "results.json has no recipes; give them as --config FILE"),
        (["--config", "no.yaml"], "no.yaml is not a file; give recipes as --config"),
        (["nowhere", "--config", "mine.yaml"], "nowhere is not a run and has none in it"),
    ],
)
def test_bad_arguments_are_one_paragraph_and_write_nothing(
    arguments: list[str], words: str, recipe: Path, fails: Callable[..., str]
) -> None:
    assert words in fails("results", "--page=results.md", *arguments)


# The page of this project


@pytest.mark.slow
def test_the_page_and_the_heads_of_the_recipes_are_what_the_command_makes(
    cli: Callable[..., None], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "docs").mkdir()
    for name in ("results.md", "results.json"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    with pytest.raises(SystemExit) as stop:
        cli("results")
    assert not stop.value.code
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) > 10
    for path in made:
        expected = ROOT / path.relative_to(tmp_path)
        assert path.read_text() == expected.read_text(), f"run `python -m src results`, and commit {expected}"


def test_the_figures_of_readme_are_those_of_the_page() -> None:
    """Where a recipe has runs, `93.8 %` is its mean."""
    results = recipe_results.read(ROOT / "docs/results.json")
    listed = re.findall(
        r"^\| \[`[\w/]+`\]\((.*?)\) \| .*? \| ([\d.]+) %", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(listed) >= 4
    for path, figure in listed:
        row = results_page.RecipeRow(path, "", results.of(path), [])
        if found := row.summary("test"):
            assert figure == f"{100 * found[1].mean:.1f}", f"README: {path}"
