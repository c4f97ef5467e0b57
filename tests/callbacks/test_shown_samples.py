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


def test_mistakes_of_images_with_several_classes() -> None:
    """The threshold is 0.9. Only the first image is right; the second lacks b at 0.88, the third has a at 0.95."""
    logits_NK = torch.tensor([[3.0, -3.0], [-4.0, 2.0], [3.0, 4.0]])
    labels_NK = torch.tensor([[1, 0], [0, 1], [0, 1]])
    several = TestSamples(torch.arange(3), labels_NK, logits_NK, torch.zeros(3), threshold=0.9)
    assert confident_mistakes(several, 3).tolist() == [2, 1]
    assert confident_mistakes(several, 1).tolist() == [2]
    shown = captions(several, torch.tensor([0, 1, 2]), ["a", "b"])
    assert shown == ["a\n→ a", "b\n→ none", "b\n→ a;b"]


@pytest.mark.parametrize("callback", [ConfidentMistakes, LossExtremes, MistakeMaps])
def test_no_images(callback: type) -> None:
    with pytest.raises(ValueError, match="num_images 0 must be at least 1"):
        callback(num_images=0)
