"""The report of a test as a callback."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from src.callbacks.display_only import display_only
from src.callbacks.report.groups import read_groups
from src.callbacks.test_samples import TestSamples, TestSamplesCallback


class Report(TestSamplesCallback):
    """Writes report.md and report.html, a page with its images in it, into the run directory after each test: a model
    card (Mitchell et al. 2019, arXiv 1810.03993) with data and known limits, training, metrics with confidence
    intervals, calibration, mistakes, robustness, cost, intended use and the questions of ethics.

    Each figure but the speed is a function of the weights, the data and the seed. Nothing is written if the module's
    `test_step` returns no samples, see `TestSamplesCallback`.
    """

    def __init__(self, groups: str | None = None, num_images: int = 500) -> None:
        """
        Args:
            groups: a CSV file with the columns `sample`, the index in the test set as in predictions.csv, and `group`,
                for metrics by group.
            num_images: on at most so many validation images a temperature is fitted, and at most so many test images
                are corrupted, for which the network runs again ten times; 0 for neither.

        Raises:
            ValueError: if the file is missing or malformed, or the number is negative.
        """
        if num_images < 0:
            raise ValueError(f"num_images {num_images} is negative; use 0 to run the network on no further images")
        self.groups = read_groups(groups) if groups else None
        self.num_images = num_images

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        from src.callbacks.report import page  # 50 ms of imports that a start does not need
        from src.callbacks.report.card import Card

        with display_only("the report"):
            card = Card(trainer, pl_module, samples, self.groups, self.num_images)
            text = page.as_markdown(card.values())
            (card.directory / "report.md").write_text(text, encoding="utf-8")
            (card.directory / "report.html").write_text(
                page.as_html(text, card.directory, card.title), encoding="utf-8"
            )
            rank_zero_info(f"report in {card.directory / 'report.html'}")
