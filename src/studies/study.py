"""A study: the same fit for several seeds or folds of one or more recipes, each a run in the directory of the study."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import yaml

from src.errors import UserError
from src.runtime import run_directory
from src.studies import processes
from src.studies.kept_inputs import keep
from src.studies.processes import Claim, Job

PREDICTIONS = "src.callbacks.SamplePredictions"
_FINISHED = ".finished"  # a file in the directory of a run


@dataclass(frozen=True)
class Member:
    """A run of a study."""

    directory: Path
    recipe: str
    seed: int
    fold: int | None = None  # that validates, from 0; None without cross-validation

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def is_finished(self) -> bool:
        """Whether its fit, with the test at its end, has ended with exit code 0."""
        return (self.directory / _FINISHED).is_file()


@dataclass
class Study:
    """Runs, and what they have in common."""

    directory: Path
    recipes: dict[str, Path]  # their files, by their names
    seeds: Sequence[int]  # one run of each recipe for each of them
    folds: int | None = None  # one run of each recipe and seed for each of so many folds
    arguments: list[str] = field(default_factory=list)  # of all fits, in addition to their recipe
    selected: Sequence[Member] | None = None  # the runs that `run` runs; None for all
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def members(self) -> list[Member]:
        """In the order in which they run: recipes that are compared take turns."""
        folds = {fold: f"_fold-{fold}-of-{self.folds}" for fold in range(self.folds or 0)} or {None: ""}
        return [
            Member(self.directory / f"{recipe}_seed-{seed}{of_fold}", recipe, seed, fold)
            for seed in self.seeds
            for fold, of_fold in folds.items()
            for recipe in self.recipes
        ]

    def of(self, recipe: str) -> list[Member]:
        return [member for member in self.members if member.recipe == recipe]

    def prepare(self) -> None:
        """Copies the recipes into the directory, so that all runs of the study are of the same. Raises UserError if it
        was begun with others, or with other arguments."""
        if missing := [str(path) for path in self.recipes.values() if not path.is_file()]:
            raise UserError(f"--config {missing[0]} is not a file")
        inputs = {f"recipes/{name}.yaml": (path.read_text(), str(path)) for name, path in self.recipes.items()}
        given = f"the arguments {shlex.join(self.arguments) or 'none'}"
        keep(self.directory, {**inputs, "arguments.yaml": (yaml.safe_dump(self.arguments), given)})

    def command(self, member: Member) -> list[str]:
        """The arguments of `python -m src` that begin a run, or continue it. The samples of a cross-validation are all
        of the training set, so there is no test."""
        untested = ["--test_after_fit=false"] if self.folds else [one for one in self.arguments if "_after_fit" in one]
        if run_directory.is_resumable(member.directory):
            return ["fit", f"--resume={member.directory}", *untested]
        recipe = self.directory / "recipes" / f"{member.recipe}.yaml"
        fold = [f"--data.folds={self.folds}", f"--data.fold={member.fold}", *untested] if self.folds else []
        return [
            *("fit", f"--config={recipe}", *self.arguments, f"--seed_everything={member.seed}"),
            *(f"--trainer.default_root_dir={member.directory}", f"--trainer.callbacks+={PREDICTIONS}", *fold),
        ]

    def run(self, at_a_time: int) -> None:
        """Runs what is missing; `failed` names the runs that failed, each with the end of its output."""
        processes.run(self._jobs(), at_a_time)

    def follow(self, member: Member) -> int:
        """Becomes another rank of a run, which rank 0 runs; returns 0 where the run is finished."""
        if not member.is_finished:
            os.execv(processes.COMMAND[0], [*processes.COMMAND, *self.command(member)])
        return 0

    def _jobs(self) -> Iterator[Job | None]:
        selected = self.members if self.selected is None else self.selected
        missing = [member for member in selected if not member.is_finished]
        print(f"{len(missing)} of {len(selected)} runs in {self.directory} are missing", flush=True)
        while missing:
            for member in missing:
                claim = Claim(member.directory)
                if claim.acquire():
                    break
                claim.close()  # another process runs it
            else:
                yield None
                continue
            missing.remove(member)
            if member.is_finished:  # by another process
                claim.close()
                continue
            yield Job(member.directory, self.command(member), claim, partial(self._end, member))

    def _end(self, member: Member, code: int) -> None:
        if code == 0:
            (member.directory / _FINISHED).touch()
            print(f"{member.name} is finished", flush=True)
            return
        self.failed[member.name] = processes.last_lines(member.directory)
        print(f"{member.name} ended with exit code {code}:\n{self.failed[member.name]}", flush=True)
