"""Images of a test, selected by how they were classified."""

from __future__ import annotations

import pytest
import torch

from src.callbacks import ConfidentMistakes, LossExtremes, MistakeMaps
from src.callbacks.shown_samples import captions, confident_mistakes
from src.callbacks.test_samples import TestSamples


def samples() -> TestSamples:
    """Of class 0, with logit 0, and of class 1 with these logits."""
    logits_NK = torch.stack([torch.zeros(5), torch.tensor([-3.0, 1.0, 3.0, 2.0, 0.5])], 1)
    labels_N = torch.tensor([0, 0, 0, 1, 0])
    return TestSamples(torch.arange(10, 15), labels_N, logits_NK, torch.zeros(5))


def test_the_most_confident_mistake_is_first() -> None:
    assert confident_mistakes(samples(), 5).tolist() == [2, 1, 4]
    assert confident_mistakes(samples(), 2).tolist() == [2, 1]


def test_captions_name_the_true_and_the_predicted_class() -> None:
    shown = captions(samples(), torch.tensor([2, 3]), ["cat", "a very long name"])
    assert shown == ["cat\n→ a very lon… 95%", "a very lon…\n→ a very lon… 88%"]


@pytest.mark.parametrize("callback", [ConfidentMistakes, LossExtremes, MistakeMaps])
def test_no_images(callback: type) -> None:
    with pytest.raises(ValueError, match="num_images 0 must be at least 1"):
        callback(num_images=0)
