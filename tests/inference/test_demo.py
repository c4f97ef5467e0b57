"""What the page of `demo` shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from src.data.image_spec import ImageSpec
from src.errors import UserError
from src.inference.demo import explain, serve
from src.inference.image_classifier import ImageClassifier

SPEC = ImageSpec(("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3, (8, 8), 3, stored_size=(10, 10))


class MeanColor(nn.Module):
    """The mean of each channel is the logit of a class."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.layer = nn.Identity() if maps else lambda images_BCHW: images_BCHW

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return 4 * self.layer(images_BCHW).mean((2, 3))


@pytest.mark.parametrize("maps", [True, False])
def test_the_classes_of_an_image_and_its_map_if_the_network_has_one(maps: bool, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (0, 255, 0)).save(tmp_path / "a.png")
    explained = explain(ImageClassifier(MeanColor(maps), SPEC), str(tmp_path / "a.png"))
    expected_K = torch.tensor([0.0, 4.0, 0.0]).softmax(0)
    assert list(explained.probabilities.values()) == pytest.approx(expected_K.tolist())
    green_HW = (explained.figure_HWC == (0, 255, 0)).all(-1)
    height, width = green_HW.shape
    assert green_HW[height // 2, width // 4]
    assert (explained.figure_HWC[height // 2, 3 * width // 4] < 255).any() == maps  # white where there is no map


def test_what_cannot_be_decoded_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match="empty"):
        explain(ImageClassifier(MeanColor(True), SPEC), str(tmp_path / "a.png"))


def test_without_its_package_the_demo_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match="demo needs the package gradio"):
        serve(ImageClassifier(MeanColor(True), SPEC), "a", "127.0.0.1", 7860, 20)
