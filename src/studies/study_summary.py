"""What the runs of a study say together: means with intervals, and comparisons with the first recipe."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from src.errors import UserError
from src.runtime import run_directory
from src.studies import predictions, run_record
from src.studies.predictions import Predictions, vote
from src.studies.run_record import RunRecord
from src.studies.statistics import McNemar, Summary, mcnemar, seeds_needed, summarize
from src.studies.study import Member, Study

TEST, VALIDATION = "test_predictions.csv", "val_predictions.csv"  # of src.callbacks.SamplePredictions


@dataclass
class Comparison:
    """A recipe minus the first one, on the seeds (or the folds) that both have."""

    recipe: str  # that is compared
    reference: str  # the first one
    difference: Summary  # of the metric
    needed: int | None  # how many seeds an interval without zero would need; None if more than a thousand
    by_seed: dict[int, McNemar]  # McNemar's test for each seed: only this recipe is right, only the first one
    of_votes: McNemar | None  # the same for the votes of the seeds, where there are several


class StudySummary:
    """The finished runs of a study."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.records: dict[Member, RunRecord] = {
            member: run_record.read(member.directory) for member in study.members if member.is_finished
        }
        self.metric = self._metric()
        self.unit = "fold" if study.folds and len(study.seeds) == 1 else "seed"
        self.units = {recipe: self._units(recipe) for recipe in study.recipes}

    def _metric(self) -> str:
        """Accuracy, or mean average precision where images have several labels: of the test, if all runs have one."""
        subsets = ["val"] if self.study.folds else ["test", "val"]
        names = [f"{subset}/{name}" for subset in subsets for name in ("acc", "map")]
        metrics = [self.metrics(member) for member in self.records]
        if shared := [name for name in names if all(name in one for one in metrics)]:
            return shared[0]
        raise UserError(f"the finished runs of {self.study.directory} have none of {', '.join(names)} in common")

    def metrics(self, member: Member) -> dict[str, float]:
        """Of the test and the best weights; in cross-validation, of the last weights, since the best were chosen by the
        samples of the fold."""
        values: dict[str, Any] = self.records[member].metrics
        if member.fold is not None:
            results = json.loads((member.directory / run_directory.RESULTS).read_text())
            values = {name: value for name, value in results["fit"]["last"].items() if name.startswith("val/")}
        return {name: value for name, value in values.items() if value is not None and "_of/" not in name}

    def _units(self, recipe: str) -> dict[int, dict[str, float]]:
        """The metrics of each seed, or of each fold of the only seed. A seed of a cross-validation counts when all its
        folds are finished, with the mean of them."""
        of_seed: dict[int, list[dict[str, float]]] = defaultdict(list)
        for member in self.study.of(recipe):
            if member in self.records:
                unit = member.fold if self.unit == "fold" and member.fold is not None else member.seed
                of_seed[unit].append(self.metrics(member))
        size = self.study.folds if self.unit == "seed" and self.study.folds else 1
        return {
            unit: {name: sum(one.get(name, 0.0) for one in runs) / size for name in runs[0]}
            for unit, runs in of_seed.items()
            if len(runs) == size
        }

    def summaries(self, recipe: str) -> dict[str, Summary]:
        """Of each metric."""
        units = self.units[recipe].values()
        names = [name for name in next(iter(units), {}) if all(name in unit for unit in units)]
        return {name: self._summarize([unit[name] for unit in units]) for name in names}

    def _summarize(self, values: Sequence[float]) -> Summary:
        return summarize(values, folds=self.unit == "fold")

    def comparisons(self) -> list[Comparison]:
        """Of each recipe with the first one."""
        reference, *others = self.study.recipes
        return [one for recipe in others if (one := self._compare(recipe, reference))]

    def _compare(self, recipe: str, reference: str) -> Comparison | None:
        own, first = self.units[recipe], self.units[reference]
        if not (shared := [unit for unit in own if unit in first]):
            return None
        differences = [own[unit][self.metric] - first[unit][self.metric] for unit in shared]
        by_seed, votes = self._mcnemar(recipe, reference)
        needed = seeds_needed(differences) if len(differences) > 1 else None
        return Comparison(recipe, reference, self._summarize(differences), needed, by_seed, votes)

    def _mcnemar(self, recipe: str, reference: str) -> tuple[dict[int, McNemar], McNemar | None]:
        own, first = self.predictions(recipe), self.predictions(reference)
        pairs = {
            seed: (own[seed], first[seed]) for seed in own if seed in first and own[seed].same_samples(first[seed])
        }
        by_seed = {seed: mcnemar(*(one.correct for one in pair)) for seed, pair in pairs.items()}
        if len(by_seed) < 2 or not all(one.has_one_class for pair in pairs.values() for one in pair):
            return by_seed, None
        return by_seed, mcnemar(*(vote(of_seeds).correct for of_seeds in zip(*pairs.values(), strict=True)))

    def predictions(self, recipe: str) -> dict[int, Predictions]:
        """Those of each seed: of the test set, or out of fold where all folds are finished."""
        found = {}
        for seed in self.study.seeds:
            members = [member for member in self.study.of(recipe) if member.seed == seed]
            files = [member.directory / (TEST if member.fold is None else VALIDATION) for member in members]
            if all(member in self.records for member in members) and all(file.is_file() for file in files):
                found[seed] = predictions.read(files)
        return found
