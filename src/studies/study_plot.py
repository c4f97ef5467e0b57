"""The image of a study: each seed or fold as a dot, and the mean with its interval."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from src.files import replacing
from src.studies.study_summary import StudySummary


def plot(summary: StudySummary, path: Path) -> None:
    """Writes a PNG file with one row per recipe; lines connect the same seeds."""
    recipes = [recipe for recipe in summary.study.recipes if summary.units[recipe]]
    figure = Figure(figsize=(8, 1.2 + 0.6 * len(recipes)), layout="constrained")
    axes = figure.subplots()
    places: dict[int, list[tuple[float, float]]] = {}
    for row, recipe in enumerate(recipes):
        for unit, metrics in summary.units[recipe].items():
            places.setdefault(unit, []).append((metrics[summary.metric], row))
        found = summary.summaries(recipe)[summary.metric]
        half = 0.0 if math.isnan(found.low) else found.high - found.mean
        axes.errorbar(found.mean, row + 0.22, xerr=half, fmt="s", color="black", capsize=4, markersize=5)
    for points in places.values():
        values, rows = zip(*points, strict=True)
        axes.plot(values, rows, "-", color="0.8", zorder=0)
        axes.plot(values, rows, "o", color="tab:blue", alpha=0.6, markersize=6)
    axes.set(ylim=(len(recipes) - 0.5, -0.5), xlabel=summary.metric)
    axes.set_yticks(range(len(recipes)), recipes)
    axes.grid(axis="x", color="0.9")
    axes.set_title(f"each {summary.unit}, and the mean with its interval of 95 %", fontsize=10)
    with replacing(path) as part:
        figure.savefig(part, dpi=120, format="png")
