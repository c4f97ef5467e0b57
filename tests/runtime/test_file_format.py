"""Files of older formats."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from src.errors import UserError
from src.runtime import file_format
from src.runtime.checkpoint_file import read
from tests.toys import fit, last_checkpoint

# A config.yaml of format 1.
FORMAT_1: dict[str, Any] = {
    "seed_everything": 3,
    "trainer": {
        "checkpoint_every_n_steps": 5,
        "checkpoint_every_n_minutes": None,
        "callbacks": [
            {"class_path": "src.callbacks.ema.EMA"},
            {"class_path": "src.callbacks.predictions.Predictions"},
        ],
    },
    "model": {
        "net": {"class_path": "src.nets.Views", "init_args": {"net": {"class_path": "src.nets.speed.SpeedNet"}}},
        "optimizer": {"class_path": "src.optim.Muon", "init_args": {"normalise": False}},
        "lr_scheduler": "src.schedule.WarmupDecay",
    },
    "data": {
        "class_path": "src.data.Shapes",
        "init_args": {"picture_seed": 1, "augment": [{"class_path": "src.augment.Flip"}]},
    },
}


def test_a_configuration_of_format_1_gets_the_new_class_paths_and_arguments() -> None:
    config = file_format.migrate_config(FORMAT_1, "config.yaml")
    assert config["format_version"] == file_format.FORMAT_VERSION
    assert config["seed_everything"] == 3
    assert config["trainer"] == {
        "callbacks": [
            {"class_path": "src.callbacks.ema.EMA"},
            {"class_path": "src.callbacks.PredictionWriter"},
        ],
        "default_callbacks": {
            "checkpoints": {
                "class_path": "src.runtime.run_checkpoints.RunCheckpoints",
                "init_args": {"every_n_steps": 5, "every_n_minutes": None},
            }
        },
    }
    net = config["model"]["net"]
    assert net["class_path"] == "src.models.TestTimeAugmentation"
    assert net["init_args"]["net"]["class_path"] == "src.models.SpeedNet"
    assert config["model"]["optimizer"]["init_args"] == {"normalize": False}
    assert config["model"]["lr_scheduler"] == "src.optim.WarmupDecay"
    assert config["data"]["init_args"]["image_seed"] == 1
    assert config["data"]["init_args"]["augment"] == [{"class_path": "src.data.augment.Flip"}]


def test_a_configuration_of_the_current_format_does_not_change() -> None:
    config = {"format_version": file_format.FORMAT_VERSION, "model": {"net": {"class_path": "src.nets.Own"}}}
    assert file_format.migrate_config(config, "config.yaml") == config


@pytest.mark.parametrize("class_path", [path for path in file_format._CLASS_PATHS_1.values() if path[-1] != "."])
def test_every_new_class_path_exists(class_path: str) -> None:
    module, _, name = class_path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_rmsprop_of_format_1_becomes_that_of_torch() -> None:
    config = file_format.migrate_config({"optimizer": {"class_path": "src.rmsprop.RMSprop"}}, "recipe.yaml")
    assert config["optimizer"]["class_path"] == "torch.optim.RMSprop"


@pytest.mark.parametrize("class_path", ["src.nets.CIFARResNet18", "src.callbacks.records.Records"])
def test_a_class_that_no_longer_exists_is_an_error(class_path: str) -> None:
    with pytest.raises(UserError, match=f"old.yaml uses {class_path}, which no longer exists"):
        file_format.migrate_config({"net": {"class_path": class_path}}, "old.yaml")


def test_a_class_of_today_with_the_name_of_one_that_no_longer_exists_is_read() -> None:
    net = {"class_path": "src.models.CIFARResNet18"}
    assert file_format.migrate_config({"net": net}, "recipe.yaml")["net"] == net


@pytest.mark.parametrize("version", [0, file_format.FORMAT_VERSION + 1, "two"])
def test_a_file_of_an_unknown_version_is_refused(version: Any) -> None:
    with pytest.raises(UserError, match=rf"new.yaml has format_version {version}, .* reads 1 to"):
        file_format.migrate_config({"format_version": version}, "new.yaml")


def test_a_run_of_format_1_resumes(tmp_path: Path) -> None:
    """The checkpoint of an undisturbed run, written as format 1 wrote it, continues to the same weights."""
    fit(tmp_path / "undisturbed", max_epochs=2)
    fit(tmp_path / "resumed", max_epochs=1)
    path = tmp_path / "resumed" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["format_version"]
    checkpoint["callbacks"]["Checkpoints"] = checkpoint["callbacks"].pop("RunCheckpoints")
    torch.save(checkpoint, path)
    fit(tmp_path / "resumed", max_epochs=2, resume=True)
    saved, expected = (last_checkpoint(tmp_path / name) for name in ("resumed", "undisturbed"))
    torch.testing.assert_close(saved["state_dict"], expected["state_dict"], rtol=0, atol=0)
    assert saved["format_version"] == file_format.FORMAT_VERSION
    assert saved["callbacks"]["RunCheckpoints"]["best"] == expected["callbacks"]["RunCheckpoints"]["best"]


def test_a_checkpoint_of_format_1_gets_the_entries_of_lightnings_weight_averaging(tmp_path: Path) -> None:
    weight, average = torch.tensor([1.0]), torch.tensor([3.0])
    checkpoint = {"state_dict": {"w": average}, "ema": {"state_dict": {"w": weight}, "steps": 7}, "global_step": 7}
    torch.save({**checkpoint, "callbacks": {}, "config": FORMAT_1}, tmp_path / "last.ckpt")
    migrated = read(tmp_path / "last.ckpt")
    assert migrated["current_model_state"] == {"w": weight} and migrated["state_dict"] == {"w": average}
    assert int(migrated["averaging_state"]["n_averaged"]) == 8
    assert migrated["callbacks"]["EMA"] == {"latest_update_step": 7}
    assert "ema" not in migrated
    assert migrated["config"] == file_format.migrate_config(FORMAT_1, "config.yaml")


def test_a_config_file_is_read_in_the_current_format(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(FORMAT_1))
    assert file_format.read_config(tmp_path / "config.yaml") == file_format.migrate_config(FORMAT_1, "config.yaml")
