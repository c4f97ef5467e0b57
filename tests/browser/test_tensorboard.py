"""What the pages of TensorBoard show of two runs."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import RATES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.filterwarnings("default"),  # those of playwright
]

SCREEN = {"width": 1920, "height": 1080}
LAPTOP = {"width": 1440, "height": 900}


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    page = chromium.new_page(viewport=SCREEN)
    page.set_default_timeout(60_000)
    yield page
    page.close()


def on_first_screen(page: Any, titles: list[str]) -> list[str]:
    """Which of the cards of these titles are visible without scrolling, at least their upper half."""
    page.locator("card-view").first.wait_for()
    page.wait_for_timeout(2000)  # cards move until their neighbors have their size
    height = page.viewport_size["height"]
    cards = {title: page.locator("card-view").filter(has_text=title) for title in titles}
    boxes = {title: card.first.bounding_box() for title, card in cards.items() if card.count()}
    return [title for title, box in boxes.items() if box and box["y"] + box["height"] / 2 < height]


def test_the_first_screen_has_loss_accuracy_and_learning_rate(page: Any, address: str) -> None:
    page.goto(address)
    titles = ["train/loss", "train/acc", "train/lr", "val/loss", "val/acc"]
    assert on_first_screen(page, titles) == titles


def test_a_laptops_first_screen_has_loss_and_accuracy(page: Any, address: str) -> None:
    page.set_viewport_size(LAPTOP)
    page.goto(address)
    assert on_first_screen(page, ["train/loss", "train/acc"]) == ["train/loss", "train/acc"]


def test_no_chart_has_one_value(address: str) -> None:
    def data(path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{address}data/plugin/scalars/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)

    tags = {run: list(own) for run, own in data("tags").items() if not run.endswith("hparams")}
    assert set(tags) == {f"shapes/{name}" for name in RATES}
    for run, names in tags.items():
        assert {name.split("/")[0] for name in names} == {"train", "val", "watch"}
        assert min(len(data("scalars", run=run, tag=name)) for name in names) > 1


def test_custom_scalars_have_training_and_validation_in_one_chart(page: Any, address: str) -> None:
    page.goto(f"{address}#custom_scalars")
    chart = page.locator("tf-custom-scalar-multi-line-chart-card")
    chart.filter(has_text="learning rate").get_by_text("Matches (2)").wait_for()  # of two runs
    for title in ("loss", "accuracy"):
        card = chart.filter(has=page.get_by_text(title, exact=True)).first
        card.get_by_text("Matches (4)").wait_for()  # training and validation of two runs


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_images_are_shown_pixel_by_pixel(page: Any, address: str, dark: bool) -> None:
    page.goto(f"{address}?darkMode={str(dark).lower()}#images")
    page.locator("tf-image-loader img").nth(10).wait_for()
    sizes = page.locator("tf-image-loader img").evaluate_all(
        "images => images.map(image => [image.clientWidth, image.naturalWidth])"
    )
    assert {tuple(size) for size in sizes} == {(350, 350)}
    for name in (
        "classes",
        "confusion_matrix",
        "highest_loss",
        "lowest_loss",
        "mistakes",
        "mistakes_why",
    ):  # of its first page
        page.get_by_text(f"view_test/{name}").first.wait_for(state="attached")


def test_texts(page: Any, address: str) -> None:
    page.goto(f"{address}#text")
    page.get_by_text("max_epochs: 3").first.wait_for()
    page.get_by_text("test/acc_of/disc").first.wait_for(state="attached")


def test_hyperparameters_that_differ_are_the_first_columns(page: Any, address: str) -> None:
    page.goto(f"{address}#hparams")
    cells = page.locator("vaadin-grid-cell-content")
    for name in RATES:
        cells.filter(has_text=f"shapes/{name}").first.wait_for()
    texts = [text for cell in cells.all_inner_texts() if (text := cell.strip())]
    metrics = [f"values/{name}" for name in ("acc_best_val", "acc_test", "loss_test", "parameters", "seconds")]
    assert texts[2] == "model.optimizer.lr"  # after the name and a box to tick
    assert texts[7:12] == metrics
    for name, rate in RATES.items():
        assert float(texts[texts.index(f"shapes/{name}") + 1]) == rate


def test_the_projector_has_the_validation_images(page: Any, address: str) -> None:
    page.goto(f"{address}#projector")
    frame = page.frame_locator("iframe").frame_locator("iframe")
    frame.get_by_text(re.compile(r"Points:\s*24")).first.wait_for()
    frame.get_by_text(re.compile(r"Dimension:\s*512")).first.wait_for()
