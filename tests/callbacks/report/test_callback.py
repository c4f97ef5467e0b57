"""The report of a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.callbacks import Report
from src.callbacks.report import figures
from src.classifier import Classifier
from src.data import ImageSet
from src.metrics import f1_scores
from src.runtime.default_callbacks import DefaultCallbacks
from tests.toys import Attributes, CallAt, Interrupted, Linear, Squares, classifier, fit, trainer


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of a report of a tiny test is that of its images."""
    monkeypatch.setattr(figures, "_DPI", 40)


class Conv(nn.Sequential):
    """A network with a feature map."""

    def __init__(self, channels: int = 3, num_classes: int = 3) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, num_classes))


class Gray(Squares):
    """One channel."""

    mean, std = (0.3,), (0.3,)

    def read(self, subset: str) -> ImageSet:
        images_NHWC, labels_N = super().read(subset)
        return ImageSet(images_NHWC[..., :1], labels_N)


class OneClass(Squares):
    """A test set of the first class alone."""

    def read(self, subset: str) -> ImageSet:
        images_NHWC, labels_N = super().read(subset)
        return ImageSet(images_NHWC, labels_N * 0 if subset == "test" else labels_N)


class Thousand(Squares):
    """A thousand classes, of which three occur."""

    classes = tuple(f"class | {number}" for number in range(1000))


def report(directory: Path, data: Squares, net: nn.Module | None = None, **arguments: Any) -> str:
    """The report of a test of initial weights."""
    torch.manual_seed(0)
    model = Classifier(net or Conv(), num_classes=len(data.classes))
    trainer(directory, callbacks=[Report(**arguments)]).test(model, datamodule=data)
    assert (directory / "report.html").read_text().startswith("<!doctype html>")
    return (directory / "report.md").read_text()


def test_a_fit_ends_with_a_report(tmp_path: Path) -> None:
    fit(tmp_path, classifier(net=Conv()), test=True, callbacks=Report())
    text = (tmp_path / "report.md").read_text()
    page = (tmp_path / "report.html").read_text()
    titles = ["Intended use", "Data", "Training", "Results", "By class", "Confusion", "Calibration", "Robustness"]
    assert [title for title in [*titles, "Ethical considerations"] if f"# {title}\n" not in text] == []
    assert "| epochs, steps | 1, 4 |" in text
    assert re.search(r"\| red \| 10 \| \d+\.\d % \(\d+\.\d to \d+\.\d\) \|", text)
    assert "fitted on 6 validation images" in text
    assert text.count("To be completed") == page.count("To be completed") == 5
    assert page.count("data:image/png") == text.count("](report/") == 3
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_the_same_test_gives_the_same_report_but_for_the_measured_speed(tmp_path: Path) -> None:
    written = []
    for _ in range(2):
        text = report(tmp_path / "a/b", Squares())
        images = {path.name: path.read_bytes() for path in (tmp_path / "a/b/report").iterdir()}
        written.append((re.sub(r"\| speed .*", "", text), images))
    assert written[0] == written[1]


@pytest.mark.slow
def test_a_run_that_was_resumed_has_the_same_report(tmp_path: Path) -> None:
    texts = []
    for interruption in ([], [CallAt("on_train_batch_end", 5)]):
        directory = tmp_path / str(len(interruption)) / "recipe/run"
        arguments: dict[str, Any] = {"max_epochs": 2, "every_n_steps": 1, "test": True}
        if interruption:
            with pytest.raises(Interrupted):
                fit(directory, classifier(net=Conv()), callbacks=[*interruption, Report()], **arguments)
        resume = bool(interruption)
        fit(directory, classifier(net=Conv()), callbacks=Report(), resume=resume, **arguments)
        texts.append(re.sub(r"\| (speed|started|time of training) .*", "", (directory / "report.md").read_text()))
    assert texts[0] == texts[1]
    assert "| epochs, steps | 2, 8 |" in texts[0]
    assert "| weights | checkpoints/best.ckpt |" in texts[0]


@pytest.mark.parametrize(
    ("data", "net", "arguments", "words"),
    [
        (Squares(val_fraction=0), None, {}, "There is no validation set, on which a temperature could be fitted."),
        (Squares(), Linear(), {}, "There are no class-activation maps, for which the network needs a feature map."),
        (Squares(size=2), None, {}, "The test set has no images of blue."),
        (OneClass(), None, {}, "All test images are of one class"),
        (Gray(), Conv(channels=1), {}, "with 1 channel |"),
        (Thousand(), Conv(num_classes=1000), {}, "The 30 classes with the lowest recall, of 1000."),
        (Squares(), None, {"num_images": 0}, "### Robustness\n\nNot measured."),
    ],
)
def test_what_is_missing_is_said(
    data: Squares, net: nn.Module | None, arguments: Any, words: str, tmp_path: Path
) -> None:
    assert words in report(tmp_path, data, net, **arguments)


def test_images_with_several_classes(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("sample,group\n0,north\n1,south\n")
    model, data = classifier(net=Conv(), multi_label=True), Attributes()
    fit(tmp_path, model, data, test=True, callbacks=Report(groups=str(tmp_path / "groups.csv")))
    text = (tmp_path / "report.md").read_text()
    assert "could not be measured" not in text
    test = json.loads((tmp_path / "results.json").read_text())["test"]
    row = re.search(r"\| mean average precision \| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \|", text)
    assert row and float(row[1]) == pytest.approx(test["test/map"], abs=6e-4) and row[2] < row[1] < row[3]
    assert f"| F1 score, mean of the classes | {test['test/f1']:.3f} (" in text
    assert f"from a probability of {test['test/threshold']:.2f}." in text
    labels_NK = data.image_set("test").labels_N
    counts = model.confusion.compute()
    for name, count, f1, of_class in zip(data.classes, labels_NK.sum(0), f1_scores(counts), counts, strict=True):
        assert re.search(rf"\| {name} \| {count} \|.* % .*\| {f1:.3f} \| \d\.\d{{3}} \|\n", text)
        (right, false), (missed, found) = of_class.tolist()
        assert f"| {name} | {found + missed} | {missed} | {right + false} | {false} |\n" in text
    assert "| validation mean average precision of the best weights |" in text
    assert re.search(r"\| north \| 1 \| 100.0 %|\| north \| 1 \| 0.0 %", text)
    assert re.search(r"\| Gaussian noise \| \d\.\d{3} \(.*\) \| \d\.\d{3} \(", text)
    assert "the logits have an expected calibration error of" in text and "its most wrong class, by Grad-CAM" in text
    assert text.count("](report/") == (tmp_path / "report.html").read_text().count("data:image/png") == 3


def test_groups_and_samples_that_are_in_none(tmp_path: Path) -> None:
    rows = [f"{index},{'west' if index < 10 else 'a | b'}" for index in range(20)]
    (tmp_path / "groups.csv").write_text("\n".join(["sample,group", *rows, "77,none"]))
    text = report(tmp_path, Squares(), groups=str(tmp_path / "groups.csv"))
    assert "10 of 30 test images are not in the file of groups." in text
    assert "1 of 21 samples in that file are not in the test set." in text
    assert "| west | 10 |" in text and "| a \\| b | 10 |" in text
    assert "percentage\npoints apart" in text


def test_groups_of_other_samples_leave_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text("sample,group\n77,west\n")
    text = report(tmp_path, Squares(), groups=str(tmp_path / "groups.csv"))
    assert "30 of 30 test images are not in the file of groups." in text


class Padded(Squares):
    """Images of 6 x 6 pixels, of which the network sees the center."""

    seen_size = 4

    def read(self, subset: str) -> ImageSet:
        images_NHWC, labels_N = super().read(subset)
        return ImageSet(nn.functional.pad(images_NHWC, (0, 0, 1, 1, 1, 1), value=255), labels_N)


def test_mistakes_are_shown_as_the_network_sees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(figures, "save_mistakes", lambda path, *images: saved.append(images) or path.touch())
    report(tmp_path, Padded())
    ((images_BHWC, _, maps_BHW),) = saved
    assert images_BHWC.shape[1:3] == maps_BHW.shape[1:] == (4, 4)
    assert images_BHWC.amax() < 255  # the padding


class Perfect(nn.Module):
    """The bright channel of `Squares` is the class."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.mean((2, 3))


def test_a_network_without_mistakes_and_parameters(tmp_path: Path) -> None:
    text = report(tmp_path, Squares(), Perfect())
    assert "No test image is misclassified." in text and "There are none to show." in text


class Once(Linear):
    """Fails on the images that the test has not shown to it."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        if len(images_BCHW) > 6:  # the batch size of `Squares`
            raise RuntimeError("one batch is enough")
        return super().forward(images_BCHW)


def test_a_network_that_fails_outside_the_test_loses_the_parts_that_need_it(tmp_path: Path) -> None:
    text = report(tmp_path, Squares(), Once())
    assert "- The cost could not be measured: one batch is enough (RuntimeError)" in text
    assert "### By class" in text and "### Robustness\n\n| corruption" in text


def test_a_failure_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "report.md").mkdir()
    with pytest.warns(UserWarning, match=r"the report is left out: .*IsADirectoryError"):
        trainer(tmp_path, callbacks=[Report()]).test(classifier(), datamodule=Squares())


def test_one_argument_switches_it_off(tmp_path: Path) -> None:
    for callbacks in (DefaultCallbacks(report=None), DefaultCallbacks()):
        assert not (tmp_path / "report.md").exists()
        trainer(tmp_path, default_callbacks=callbacks).test(classifier(), datamodule=Squares())
    assert (tmp_path / "report.md").exists()
