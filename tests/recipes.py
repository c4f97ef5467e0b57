"""The shipped recipes, with synthetic shapes in place of their datasets."""

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

FINETUNE = ROOT / "configs/finetune.yaml"  # needs timm, so only `make parts` runs it
RECIPES = sorted({*(ROOT / "configs").glob("*.yaml")} - {FINETUNE}) + sorted(
    (ROOT / "configs/notebooks").glob("*.yaml")
)


def on_shapes(recipe: Path, folder: Path, **data: Any) -> Path:
    """Writes a recipe with the same augmentation of other images; `data` are the arguments of Shapes."""
    config = yaml.safe_load(recipe.read_text())
    own = config["data"]["init_args"]
    kept = {name: own[name] for name in ("augment", "normalize", "drop_last") if name in own}
    config["data"] = {"class_path": "src.data.Shapes", "init_args": {**kept, **data}}
    config["model"]["init_from"] = None  # not the weights of another run
    path = folder / recipe.name
    path.write_text(yaml.safe_dump(config))
    return path
