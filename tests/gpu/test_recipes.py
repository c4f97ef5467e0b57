"""Every shipped recipe on the device."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gpu.conftest import DEVICE
from tests.recipes import RECIPES, on_shapes


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(recipe: Path, cli: Callable[..., None], tmp_path: Path) -> None:
    config = on_shapes(recipe, tmp_path, train_size=100, test_size=20, batch_size=20)
    limits = ("--trainer.limit_train_batches=3", "--trainer.max_epochs=1", "--trainer.default_root_dir=run")
    cli("fit", f"--config={config}", *limits, f"--trainer.accelerator={DEVICE}", "--trainer.devices=1")
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["fit"]["steps"] == 3
    assert math.isfinite(results["fit"]["last"]["train/loss"])
    assert ("peak_memory" in results["fit"]) == (DEVICE != "cpu")
