from __future__ import annotations

import torch
import torch.nn.functional as F

from src.models import FocalLoss

LOGITS_BK = torch.tensor([[2.0, -1.0, 0.5], [-3.0, 0.0, 4.0]])
LABELS_B = torch.tensor([0, 1])


def test_without_gamma_it_is_binary_cross_entropy() -> None:
    targets_BK = F.one_hot(LABELS_B, 3).float()
    expected_B = F.binary_cross_entropy_with_logits(LOGITS_BK, targets_BK, reduction="none").sum(1)
    torch.testing.assert_close(FocalLoss(alpha=-1, gamma=0)(LOGITS_BK, LABELS_B), expected_B)


def test_targets_of_several_classes_have_a_loss_each() -> None:
    targets_BK = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    expected_BK = F.binary_cross_entropy_with_logits(LOGITS_BK, targets_BK, reduction="none")
    torch.testing.assert_close(FocalLoss(alpha=-1, gamma=0)(LOGITS_BK, targets_BK), expected_BK)


def test_the_formula_of_the_paper() -> None:
    p_BK = LOGITS_BK.sigmoid()
    p_of_truth_BK = torch.where(F.one_hot(LABELS_B, 3).bool(), p_BK, 1 - p_BK)
    alpha_BK = torch.where(F.one_hot(LABELS_B, 3).bool(), 0.25, 0.75)
    expected_B = (-alpha_BK * (1 - p_of_truth_BK) ** 2 * p_of_truth_BK.log()).sum(1)
    torch.testing.assert_close(FocalLoss()(LOGITS_BK, LABELS_B), expected_B)
