"""manifest.json."""

from __future__ import annotations

import json
from pathlib import Path

from src.runtime import manifest
from tests.toys import Squares, fit


def test_a_fit_writes_the_manifest(tmp_path: Path) -> None:
    data = Squares(seed=5)
    fit(tmp_path, data=data)
    recorded = json.loads((tmp_path / "manifest.json").read_text())
    assert recorded["seed"] == 5
    assert set(manifest.PACKAGES) == recorded["packages"].keys()
    assert recorded["hardware"]["cores"] >= 1
    assert recorded["precision"] == "32-true"
    assert recorded["processes"] == 1
    assert recorded["data"]["train"]["images"] == 30
    assert recorded["data"]["train"]["sha256"] == data.describe()["train"]["sha256"]
    other = Squares(size=29)
    other.setup("fit")
    assert other.describe()["train"]["sha256"] != recorded["data"]["train"]["sha256"]
