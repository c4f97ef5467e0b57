"""TestTimeAugmentation: what the average is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from src.models.test_time_augmentation import TestTimeAugmentation


class UpperLeft(nn.Module):
    """The logit of a picture is its first pixel; it counts the calls and keeps what it was started from."""

    calls = 0
    started_from: Tensor | None = None

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.calls += 1
        return images_BCHW[:, 0, 0, :1]

    def init_from_data(self, images_BCHW: Tensor) -> None:
        self.started_from = images_BCHW


# 0 1 2
# 3 4 5
# 6 7 8
IMAGES_BCHW = torch.arange(9.0).view(1, 1, 3, 3)


# Shifted by one pixel either way, the border being reflected, the first pixel is 4, mirrored or not.
@pytest.mark.parametrize(
    ("flip", "shift", "expected", "calls"),
    [
        (False, 0, 0, 1),
        (True, 0, (0 + 2) / 2, 2),
        (False, 1, 0 / 2 + 4 / 4 + 4 / 4, 3),
        (True, 1, (0 + 2) / 4 + (4 + 4) / 8 + (4 + 4) / 8, 6),
    ],
)
def test_the_average_has_these_views(flip: bool, shift: int, expected: float, calls: int):
    net = UpperLeft()
    assert TestTimeAugmentation(net, flip, shift).eval()(IMAGES_BCHW).item() == expected
    assert net.calls == calls


def test_the_shifts_go_along_the_diagonal():
    seen: list[Tensor] = []

    class Watch(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            seen.append(images_BCHW)
            return images_BCHW[:, 0, 0]

    TestTimeAugmentation(Watch(), flip=False, shift=1).eval()(IMAGES_BCHW)
    assert seen[0].flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert seen[1].flatten().tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]  # content moved to the lower right
    assert seen[2].flatten().tolist() == [4, 5, 4, 7, 8, 7, 4, 5, 4]  # and to the upper left


def test_training_sees_the_picture_once():
    net = UpperLeft()
    assert TestTimeAugmentation(net, flip=True, shift=1).train()(IMAGES_BCHW).item() == 0
    assert net.calls == 1


def test_the_start_from_data_reaches_the_network():
    net = UpperLeft()
    TestTimeAugmentation(net).init_from_data(IMAGES_BCHW)
    assert net.started_from is IMAGES_BCHW


def test_a_network_without_a_start_from_data_is_left_alone():
    linear = nn.Linear(1, 1)
    before = linear.weight.clone()
    TestTimeAugmentation(linear).init_from_data(IMAGES_BCHW)
    assert torch.equal(linear.weight, before)


def test_a_negative_shift_is_refused():
    with pytest.raises(ValueError, match="shift -1 is negative"):
        TestTimeAugmentation(nn.Identity(), shift=-1)
