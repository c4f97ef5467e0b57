"""A study: the same fit for several seeds or folds of one or more recipes, each a run in the directory of the study."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
    """A run of a study.

    Args:
        directory: of the run.
        recipe: its name.
        seed: seed_everything.
        fold: that validates, from 0; None without cross-validation.
    """

    directory: Path
    recipe: str
    seed: int
    fold: int | None = None

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def is_finished(self) -> bool:
        """Whether its fit, with the test at its end, has ended with exit code 0."""
        return (self.directory / _FINISHED).is_file()

    @property
    def is_resumable(self) -> bool:
        """Whether it has a checkpoint to continue from."""
        return run_directory.is_resumable(self.directory)


@dataclass
class Study:
    """Runs, and what they have in common.

    Args:
        directory: of the study.
        recipes: their files, by their names.
        seeds: one run of each recipe for each of them.
        folds: None, or how many folds, with one run of each recipe and seed for each of them.
        arguments: of all fits, in addition to their recipe.
        selected: the runs that `run` runs; None for all.
    """

    directory: Path
    recipes: dict[str, Path]
    seeds: Sequence[int]
    folds: int | None = None
    arguments: list[str] = field(default_factory=list)
    selected: Sequence[Member] | None = None
    failed: dict[str, str] = field(default_factory=dict)

    @cached_property
    def members(self) -> list[Member]:
        """In the order in which they run: recipes that are compared take turns."""
        folds = range(self.folds) if self.folds else [None]
        return [
            Member(self.directory / self._name(recipe, seed, fold), recipe, seed, fold)
            for seed in self.seeds
            for fold in folds
            for recipe in self.recipes
        ]

    def _name(self, recipe: str, seed: int, fold: int | None) -> str:
        return f"{recipe}_seed-{seed}" + ("" if fold is None else f"_fold-{fold}-of-{self.folds}")

    def of(self, recipe: str) -> list[Member]:
        return [member for member in self.members if member.recipe == recipe]

    def prepare(self) -> None:
        """Copies the recipes into the directory, so that all runs of the study are of the same.

        Raises:
            UserError: if the study was begun with other recipes or arguments.
        """
        if missing := [str(path) for path in self.recipes.values() if not path.is_file()]:
            raise UserError(f"--config {missing[0]} is not a file")
        inputs = {f"recipes/{name}.yaml": (path.read_text(), str(path)) for name, path in self.recipes.items()}
        given = f"the arguments {shlex.join(self.arguments) or 'none'}"
        keep(self.directory, {**inputs, "arguments.yaml": (yaml.safe_dump(self.arguments), given)})

    def _recipe(self, name: str) -> Path:
        return self.directory / "recipes" / f"{name}.yaml"

    def command(self, member: Member) -> list[str]:
        """The arguments of `python -m src` that begin a run, or continue it. The samples of a cross-validation are all
        of the training set, so there is no test."""
        untested = ["--test_after_fit=false"] if self.folds else [one for one in self.arguments if "_after_fit" in one]
        if member.is_resumable:
            return ["fit", f"--resume={member.directory}", *untested]
        fold = [f"--data.folds={self.folds}", f"--data.fold={member.fold}", *untested] if self.folds else []
        return [
            *("fit", f"--config={self._recipe(member.recipe)}", *self.arguments, f"--seed_everything={member.seed}"),
            *(f"--trainer.default_root_dir={member.directory}", f"--trainer.callbacks+={PREDICTIONS}", *fold),
        ]

    def output(self, member: Member) -> Path:
        return self.directory / "output" / f"{member.name}.txt"

    def run(self, at_a_time: int) -> None:
        """Runs what is missing; `failed` names the runs that failed, each with the end of its output.

        Raises:
            processes.Stopped: when a signal was received.
        """
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
                claim = Claim(self.output(member).with_suffix(".lock"))
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
            if not member.is_resumable:  # what it has written before its first checkpoint
                shutil.rmtree(member.directory, ignore_errors=True)
            does = "resumes" if member.is_resumable else "starts"
            print(f"{member.name} {does}, with its output in {self.output(member)}", flush=True)
            yield Job(
                self.command(member), self.output(member), claim, lambda code, member=member: self._end(member, code)
            )

    def _end(self, member: Member, code: int) -> None:
        if code == 0:
            (member.directory / _FINISHED).touch()
            print(f"{member.name} is finished", flush=True)
            return
        self.failed[member.name] = processes.last_lines(self.output(member))
        print(f"{member.name} ended with exit code {code}:\n{self.failed[member.name]}", flush=True)


def parse_seeds(text: str) -> list[int]:
    """`0..9` is the seeds from 0 to 9, `0,3,5` these three.

    Raises:
        ValueError: if it is neither.
    """
    if match := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        seeds = list(range(int(match[1]), int(match[2]) + 1))
    else:
        seeds = [int(one) for one in text.split(",")]
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"{text} are not different seeds; use 0..9 or 0,3,5")
    return seeds
