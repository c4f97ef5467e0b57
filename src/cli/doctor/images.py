"""Checks of the images of a dataset: classes, and duplicates across training, validation and test.

Shapes: N images, P pairs, K classes.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch import Tensor

from src.callbacks.class_names import names_of
from src.cli.doctor.finding import Note
from src.data import ImageDataModule
from src.data.batch import class_counts
from src.data.duplicates import find_duplicates
from src.errors import shortened

SUBSETS = ("training", "validation", "test")


def classes(data: ImageDataModule) -> str:
    """The number of images of each subset, and those of its smallest and its largest class."""
    labels_N, subsets_N = _labels_and_subsets(data)
    texts, missing = [], []
    for number, name in enumerate(SUBSETS):
        counts_K = class_counts(labels_N[subsets_N == number], data.num_classes)
        if not (total := int((subsets_N == number).sum())):
            continue
        ends = (counts_K.argmin(), counts_K.argmax())
        smallest, largest = (f"{int(counts_K[k]):,} ({data.classes[int(k)]})" for k in ends)
        same = int(counts_K.min()) == int(counts_K.max())
        texts.append(f"{name} {total:,}, " + (f"{int(counts_K[0]):,} each" if same else f"{smallest} to {largest}"))
        missing += [f"{data.classes[k]} in {name}" for k in (counts_K == 0).nonzero()[:, 0].tolist()]
    text = f"{data.num_classes} classes: {'; '.join(texts)}"
    return Note(f"{text}; no images of {shortened(missing)}") if missing else text


def duplicates(data: ImageDataModule, file: Path) -> str:
    """Counts the pairs of equal or similar images, and writes them to a CSV file."""
    labels_N, subsets_N = _labels_and_subsets(data)
    sets = [data.image_set(subset).images_NHWC for subset in (("train", "test") if data.has_test else ("train",))]
    pairs_P2, is_exact_P = find_duplicates(sets)
    first_P, second_P = pairs_P2.T
    leaks_P = subsets_N[first_P] != subsets_N[second_P]
    conflicts_P = labels_N[first_P] != labels_N[second_P]
    conflicts_P = conflicts_P.any(1) if data.multi_label else conflicts_P
    names = names_of(labels_N, [str(name) for name in data.classes])
    size = len(sets[0])
    with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as table:
        rows = csv.writer(table)
        rows.writerow([f"{name}_{end}" for end in ("a", "b") for name in ("subset", "index", "class")] + ["equal"])
        for pair, exact in zip(pairs_P2.tolist(), is_exact_P.tolist(), strict=True):
            places = [(SUBSETS[int(subsets_N[i])], i - size * (i >= size), names[i]) for i in pair]
            rows.writerow([*places[0], *places[1], int(exact)])
    if not len(pairs_P2):
        return "none found"
    leaked = []
    for number in (1, 2):
        if count := len(second_P[leaks_P & (subsets_N[second_P] == number)].unique()):
            leaked.append(f"{count:,} {SUBSETS[number]} images resemble one of another subset")
    text = f"{int(is_exact_P.sum()):,} pairs of equal and {int((~is_exact_P).sum()):,} of similar images"
    conflicts = [f"{int(conflicts_P.sum()):,} pairs have different labels"] if conflicts_P.any() else []
    text = f"{'; '.join([text, *leaked, *conflicts])}: see {file}"
    return Note(text) if leaked or conflicts else text


def _labels_and_subsets(data: ImageDataModule) -> tuple[Tensor, Tensor]:
    """The class of each image, int64 (N,), or its classes (N, K), and its position in SUBSETS: the training set, then
    the test set."""
    labels_N = data.image_set("train").labels_N.cpu()
    subsets_N = torch.zeros(len(labels_N), dtype=torch.long)
    subsets_N[data.val_indices] = 1
    if not data.has_test:
        return labels_N, subsets_N
    test_N = data.image_set("test").labels_N.cpu()
    return torch.cat([labels_N, test_N]), torch.cat([subsets_N, torch.full((len(test_N),), 2)])
