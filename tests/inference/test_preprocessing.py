"""The preprocessing that is exported equals decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.image_spec import ImageSpec
from src.data.storage.decode import Resize, decode
from src.errors import UserError
from src.inference.preprocessing import Preprocessing

RGB = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "channels": 3}


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize("shape", [(20, 31), (97, 12), (12, 97), (40, 40), (1, 300), (13, 13)])
@pytest.mark.parametrize("stored", [(13, 13), (16, 9)])
def test_resized_pixels_equal_those_of_decode(
    resize: Resize, shape: tuple[int, int], stored: tuple[int, int], tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected, _ = decode(tmp_path / "a.png", stored, resize)
    preprocessing = Preprocessing(ImageSpec(("a", "b"), size=stored, resize=resize, stored_size=stored, **RGB))
    assert (preprocessing.resized(torch.from_numpy(image)[None])[0].numpy() == expected).all()


def test_the_center_is_normalized() -> None:
    images_BHWC = torch.randint(256, (2, 8, 8, 3), dtype=torch.uint8)
    spec = ImageSpec(("a", "b"), size=(4, 6), stored_size=(8, 8), **RGB)
    expected_BCHW = spec.normalize(images_BHWC[:, 2:6, 1:7].permute(0, 3, 1, 2) / 255)
    assert torch.equal(Preprocessing(spec)(images_BHWC), expected_BCHW)


def test_gray_is_that_of_pillow() -> None:
    images_BHWC = torch.randint(256, (1, 8, 8, 3), dtype=torch.uint8)
    spec = ImageSpec(("a", "b"), size=(8, 8), mean=(0.0,), std=(1.0,), channels=1)
    expected = np.asarray(Image.fromarray(images_BHWC[0].numpy()).convert("L"))
    assert ((Preprocessing(spec)(images_BHWC) * 255).round().numpy() == expected).all()


def test_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="takes 2 channels"):
        Preprocessing(ImageSpec(("a", "b"), size=(8, 8), mean=(0.0,) * 2, std=(1.0,) * 2, channels=2))
