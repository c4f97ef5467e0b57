"""The training metrics of an epoch that is resumed in its middle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from src.classifier import Classifier
from src.runtime import file_format
from src.runtime.resume_state import METRICS, ResumeState
from tests.toys import classifier


def trainer(world_size: int = 1, rank: int = 0, stage: str = "fit", is_last_batch: bool = False) -> Any:
    progress = SimpleNamespace(is_last_batch=is_last_batch)
    return SimpleNamespace(
        world_size=world_size,
        global_rank=rank,
        max_steps=-1,
        state=SimpleNamespace(fn=stage),
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
    )


def state_of(predictions: list[int], losses: list[float], **kwargs: Any) -> dict[str, Any]:
    """A checkpoint after samples of class 0 with these predictions and losses."""
    model, checkpoint = classifier(), {}
    model.train_metrics["acc"].update(torch.tensor(predictions), torch.zeros(len(predictions), dtype=torch.long))
    model.train_metrics["loss"].update(torch.tensor(losses))
    ResumeState().on_save_checkpoint(trainer(**kwargs), model, checkpoint)
    return checkpoint


def correct_and_loss(model: Classifier) -> tuple[int, float]:
    """The number of correct predictions and the sum of the losses."""
    metrics: Any = model.train_metrics
    return int(metrics["acc"].tp), float(metrics["loss"].mean_value)


FIRST, SECOND = state_of([0, 0, 1], [1.0, 2.0, 3.0]), state_of([0], [4.0])
OF_TWO_RANKS = {METRICS: FIRST[METRICS] + SECOND[METRICS]}


@pytest.mark.parametrize(
    "world_size, rank, expected",
    [
        (2, 0, (2, 6.0)),
        (2, 1, (1, 4.0)),
        (1, 0, (3, 10.0)),  # the sum of both
        (3, 0, (3, 10.0)),
        (3, 1, (0, 0.0)),
    ],
)
def test_a_rank_restores_its_own_metrics_or_the_first_the_sum(
    world_size: int, rank: int, expected: tuple[int, float]
) -> None:
    model = classifier()
    ResumeState().on_load_checkpoint(trainer(world_size, rank), model, OF_TWO_RANKS)
    assert correct_and_loss(model) == expected


@pytest.mark.parametrize("world_size, rank, expected", [(2, 1, [0.4]), (1, 0, [0.2, 0.3, 0.4])])
def test_metrics_that_keep_all_outputs_are_restored(world_size: int, rank: int, expected: list[float]) -> None:
    of_ranks = []
    for batches in ([0.2, 0.3], [0.4]):
        model, checkpoint = classifier(multi_label=True), {}
        for probability in batches:
            model.train_metrics["map"].update(torch.full((1, 3), probability), torch.ones(1, 3, dtype=torch.long))
        ResumeState().on_save_checkpoint(trainer(), model, checkpoint)
        of_ranks += checkpoint[METRICS]
    model = classifier(multi_label=True)
    ResumeState().on_load_checkpoint(trainer(world_size, rank), model, {METRICS: of_ranks})
    average_precision: Any = model.train_metrics["map"]
    assert torch.cat(average_precision.preds)[:, 0].tolist() == pytest.approx(expected)


def test_a_restored_metric_counts_further_samples() -> None:
    model, metrics = classifier(), OF_TWO_RANKS
    ResumeState().on_load_checkpoint(trainer(), model, metrics)
    model.train_metrics["acc"].update(torch.tensor([1, 0]), torch.tensor([0, 0]))
    assert float(model.train_metrics["acc"].compute()) == pytest.approx(4 / 6)


def test_a_checkpoint_does_not_change_with_the_metrics() -> None:
    model, checkpoint = classifier(), {}
    ResumeState().on_save_checkpoint(trainer(), model, checkpoint)
    model.train_metrics["loss"].update(torch.tensor([1.0]))
    assert float(checkpoint[METRICS][0]["loss"]["mean_value"]) == 0


def test_a_test_does_not_restore_them() -> None:
    model = classifier()
    ResumeState().on_load_checkpoint(trainer(stage="test"), model, FIRST)
    assert correct_and_loss(model) == (0, 0.0)


def test_a_checkpoint_at_the_end_of_an_epoch_has_none() -> None:
    assert METRICS not in state_of([0], [1.0], is_last_batch=True)


def test_every_checkpoint_has_the_format_version_and_the_configuration() -> None:
    model, checkpoint = classifier(), {}
    model.config = {"seed_everything": 3}
    ResumeState().on_save_checkpoint(trainer(is_last_batch=True), model, checkpoint)
    assert checkpoint == {"format_version": file_format.FORMAT_VERSION, "config": {"seed_everything": 3}}
