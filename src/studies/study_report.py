"""study.md, study.csv, study.json, study.png and the out-of-fold predictions, written into the directory of a study."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from filelock import FileLock

from src.runtime import run_directory
from src.studies import predictions, tables
from src.studies.flat_config import as_text
from src.studies.run_selection import differing
from src.studies.statistics import Summary
from src.studies.study_summary import Comparison, StudySummary

_OF_A_MEMBER = {"seed_everything", "data.seed", "data.fold"}  # the keys in which the runs of a recipe differ
_OF_A_MACHINE = ("git", "packages", "hardware", "precision", "processes")  # entries of manifest.json that should not


def write(summary: StudySummary) -> str:
    """Writes all files; returns the text of study.md."""
    directory, text = summary.study.directory, as_markdown(summary)
    with FileLock(directory / ".study.lock"):
        run_directory.write_text(directory / "study.md", text)
        run_directory.write_text(directory / "study.csv", as_csv(summary))
        run_directory.write_text(directory / "study.json", as_json(summary))
        for recipe in summary.study.recipes if summary.study.folds else ():
            for seed, of_seed in summary.predictions(recipe).items():
                predictions.write(directory / f"{recipe}_seed-{seed}_out-of-fold.csv", of_seed)
        if any(summary.units.values()):
            from src.studies.study_plot import plot  # matplotlib

            plot(summary, directory / "study.png")
    return text


def as_markdown(summary: StudySummary) -> str:
    """What can be told from the runs, and what cannot. No times: a study that was interrupted has the same text."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: StudySummary) -> Iterator[str]:
    study, unit, metric = summary.study, summary.unit, summary.metric
    yield f"# Study {study.directory.name}"
    yield ""
    yield from tables.markdown(
        ("recipe", f"{unit}s", f"mean {metric}", "std", "95 % interval of the mean", "lowest", "highest"),
        (_row(summary, recipe) for recipe in study.recipes),
    )
    if any(summary.units.values()):
        yield "![Each run, and the mean with its interval](study.png)"
        yield ""
    if study.folds:
        yield (
            f"Each sample of the training set validates in one of {study.folds} folds. The predictions are those of "
            "the last weights, as the fold would choose the best. The test set is not read."
        )
        yield ""
    if unit == "fold":
        yield (
            "The folds share training samples, so the interval has the variance of Nadeau and Bengio 2003; with "
            "several `--seeds` it is that of the seeds."
        )
        yield ""
    if others := [one for recipe in study.recipes for one in summary.summaries(recipe) if one != metric]:
        yield "## Other metrics"
        yield ""
        found = [summary.summaries(recipe) for recipe in study.recipes]
        rows = (
            (name, *(own[name].mean_std if name in own else "missing" for own in found))
            for name in dict.fromkeys(others)
        )
        yield from tables.markdown(("metric", *study.recipes), rows)
    if comparisons := summary.comparisons():
        yield from _comparisons(comparisons, summary)
    if notes := list(_notes(summary)):
        yield "## Notes"
        yield ""
        yield from (f"- {note}" for note in notes)


def _row(summary: StudySummary, recipe: str) -> Sequence[object]:
    values = [unit[summary.metric] for unit in summary.units[recipe].values()]
    expected = summary.study.folds if summary.unit == "fold" else len(summary.study.seeds)
    number = f"{len(values)} of {expected}" if len(values) != expected else expected
    if not values:
        return recipe, number, *["missing"] * 5
    found = summary.summaries(recipe)[summary.metric]
    return (
        recipe,
        number,
        _number(found.mean),
        _number(found.std),
        _interval(found),
        *map(_number, (min(values), max(values))),
    )


def _comparisons(comparisons: Sequence[Comparison], summary: StudySummary) -> Iterator[str]:
    yield f"## Differences from {comparisons[0].reference}"
    yield ""
    rows = (
        (one.recipe, one.difference.n, _number(one.difference.mean, "+"), _interval(one.difference, "+"), _verdict(one))
        for one in comparisons
    )
    names = ("recipe", f"{summary.unit}s of both", f"mean difference in {summary.metric}", "95 % interval", "")
    yield from tables.markdown(names, rows)
    yield f"Pairs of the same {summary.unit} are compared. The intervals are not adjusted for several comparisons."
    yield ""
    for one in comparisons:
        if one.by_seed:
            yield f"McNemar's exact test of {one.recipe} and {one.reference}, on the same samples:"
            yield ""
            tests = [(str(seed), test) for seed, test in one.by_seed.items()]
            tests += [("vote of the seeds", one.of_votes)] if one.of_votes else []
            rows = ((name, test.only_first, test.only_second, f"{test.p:.3g}") for name, test in tests)
            yield from tables.markdown(
                ("seed", f"only {one.recipe} is right", f"only {one.reference} is right", "p"), rows
            )


def _verdict(one: Comparison) -> str:
    if one.difference.n < 2:
        return "**one run of each cannot tell them apart**"
    if one.difference.excludes_zero:
        return "better" if one.difference.mean > 0 else "worse"
    more = f"about {one.needed}" if one.needed else "more than a thousand"
    return f"**these {one.difference.n} cannot tell them apart**; a difference of this size would need {more}"


def _notes(summary: StudySummary) -> Iterator[str]:
    study = summary.study
    for member in study.members:
        if member not in summary.records:
            yield f"{member.name} is missing" + (": it failed" if member.name in study.failed else "")
    for recipe in study.recipes:
        records = [summary.records[member] for member in study.of(recipe) if member in summary.records]
        for key in differing(records):
            if key not in _OF_A_MEMBER:
                values = dict.fromkeys(as_text(one.config.get(key)) for one in records)
                yield f"the runs of {recipe} differ in {key}: {', '.join(values)}"
        manifests = [record.manifest for record in records]
        for entry in _OF_A_MACHINE:
            if any(one.get(entry) != manifests[0].get(entry) for one in manifests):
                yield f"the runs of {recipe} differ in {entry}: see their manifest.json"


def _number(value: float, sign: str = "") -> str:
    return "unknown" if math.isnan(value) else f"{value:{sign}.4f}"


def _interval(summary: Summary, sign: str = "") -> str:
    return "unknown" if math.isnan(summary.low) else f"{summary.low:{sign}.4f} to {summary.high:{sign}.4f}"


def as_csv(summary: StudySummary) -> str:
    """One row per run."""
    rows = []
    for member in summary.study.members:
        row = {"run": member.name, "recipe": member.recipe, "seed": member.seed, "fold": member.fold}
        if record := summary.records.get(member):
            row |= {"seconds": record.seconds, **summary.metrics(member)}
        rows.append({**row, "finished": member in summary.records})
    return tables.as_csv(rows)


def as_json(summary: StudySummary) -> str:
    """Everything that the text has, in full precision."""
    study = summary.study
    content = {
        "metric": summary.metric,
        "unit": summary.unit,
        "seeds": list(study.seeds),
        "folds": study.folds,
        "recipes": {
            recipe: {
                "values": summary.units[recipe],
                "summaries": {name: found.as_json() for name, found in summary.summaries(recipe).items()},
            }
            for recipe in study.recipes
        },
        "comparisons": [
            {
                "recipe": one.recipe,
                "reference": one.reference,
                "difference": one.difference.as_json(),
                f"{summary.unit}s_needed": one.needed,
                "mcnemar": {seed: test._asdict() for seed, test in one.by_seed.items()},
                "mcnemar_of_votes": one.of_votes._asdict() if one.of_votes else None,
            }
            for one in summary.comparisons()
        ],
        "notes": list(_notes(summary)),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
