"""TestTimeAugmentation: the views and their weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src.models.test_time_augmentation import TestTimeAugmentation


class UpperLeft(nn.Module):
    """Returns the first pixel of each image as its logit; counts the calls, records the images of `init_from_data`."""

    calls = 0
    init_images: Tensor | None = None

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.calls += 1
        return images_BCHW[:, 0, 0, :1]

    def init_from_data(self, images_BCHW: Tensor) -> None:
        self.init_images = images_BCHW


# 0 1 2
# 3 4 5
# 6 7 8
IMAGES_BCHW = torch.arange(9.0).view(1, 1, 3, 3)


# Shifted by one pixel either way with reflection padding, the first pixel is 4, flipped or not.
@pytest.mark.parametrize(
    ("flip", "shift", "expected", "calls"),
    [
        (False, 0, 0, 1),
        (True, 0, (0 + 2) / 2, 2),
        (False, 1, 0 / 2 + 4 / 4 + 4 / 4, 3),
        (True, 1, (0 + 2) / 4 + (4 + 4) / 8 + (4 + 4) / 8, 6),
    ],
)
def test_average_of_views(flip: bool, shift: int, expected: float, calls: int):
    net = UpperLeft()
    assert TestTimeAugmentation(net, flip, shift).eval()(IMAGES_BCHW).item() == expected
    assert net.calls == calls


def test_shifts_are_along_the_diagonal():
    views: list[Tensor] = []

    class Record(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            views.append(images_BCHW)
            return images_BCHW[:, 0, 0]

    TestTimeAugmentation(Record(), flip=False, shift=1).eval()(IMAGES_BCHW)
    assert views[0].flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert views[1].flatten().tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]  # shifted to the lower right
    assert views[2].flatten().tolist() == [4, 5, 4, 7, 8, 7, 4, 5, 4]  # shifted to the upper left


def test_training_uses_one_view():
    net = UpperLeft()
    assert TestTimeAugmentation(net, flip=True, shift=1).train()(IMAGES_BCHW).item() == 0
    assert net.calls == 1


def test_init_from_data_calls_the_network():
    net = UpperLeft()
    TestTimeAugmentation(net).init_from_data(IMAGES_BCHW)
    assert net.init_images is IMAGES_BCHW


def test_network_without_init_from_data_is_unchanged():
    linear = nn.Linear(1, 1)
    before = linear.weight.clone()
    TestTimeAugmentation(linear).init_from_data(IMAGES_BCHW)
    assert torch.equal(linear.weight, before)


def test_negative_shift_raises():
    with pytest.raises(ValueError, match="shift -1 is negative"):
        TestTimeAugmentation(nn.Identity(), shift=-1)
