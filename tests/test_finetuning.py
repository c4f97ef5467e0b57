"""The recipe that trains a pretrained network of timm, with weights of a file and images of a few pixels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from src.data import Shapes
from tests.conftest import ROOT
from tests.recipes import FINETUNE


@pytest.mark.slow
@pytest.mark.parts
@pytest.mark.filterwarnings("default")  # those of the package
def test_the_recipe_trains_a_head_and_then_all_of_a_pretrained_network(
    cli: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level("INFO")
    timm = importlib.import_module("timm")
    images_NHWC, labels_N = Shapes(train_size=60, image_size=64).read("train")
    for number, (image_HWC, label) in enumerate(zip(images_NHWC, labels_N.tolist(), strict=True)):
        folder = tmp_path / "shapes" / str(label % 3)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_HWC.numpy()).save(folder / f"{number}.png")
    pretrained = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(pretrained, tmp_path / "pretrained.pth")
    cli(
        *("fit", f"--config={ROOT / FINETUNE}", "--data.data_dir=shapes", "--trainer.max_epochs=2"),
        *("--model.net.pretrained=false", "--model.init_from=pretrained.pth", "--trainer.accelerator=cpu"),
        *("--trainer.default_callbacks.report=null", "--trainer.default_root_dir=run"),
    )
    assert "gives 294 of 296 tensors" in caplog.text
    assert not [str(one.message) for one in recwarn if "left out" in str(one.message)]
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["net.classifier.weight"].shape == (3, 1280)
    assert not torch.equal(state["net.conv_stem.weight"], pretrained["conv_stem.weight"])
