"""The page of `python -m src demo`, as a browser shows it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from src.cli import trained_run
from src.data import Shapes
from src.inference.demo import explain
from tests.browser.conftest import wait_for
from tests.conftest import ROOT, TINY
from tests.processes import finish

pytestmark = [pytest.mark.slow, pytest.mark.demo, pytest.mark.filterwarnings("default")]


class Server(NamedTuple):
    """A running demo, which takes files of up to 1 MB."""

    run: Path
    port: int
    folder: Path  # for its temporary files


@contextmanager
def serving(run: Path, temporary: Path) -> Iterator[Server]:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    command = [sys.executable, "-m", "src", "demo", f"--run={run}", f"--port={port}", "--max_upload=1"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        wait_for(f"http://127.0.0.1:{port}", containing="gradio")
        yield Server(run, port, temporary)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("run") / "a"
    finish(*TINY, f"--trainer.default_root_dir={run}", "--test_after_fit=false")
    with serving(run, tmp_path_factory.mktemp("temporary")) as server:
        yield server


@pytest.fixture
def page(chromium: Any, server: Server) -> Iterator[Any]:
    page = chromium.new_page(viewport={"width": 1000, "height": 800})
    page.hosts = set()
    page.on("request", lambda request: page.hosts.add(re.split(r"[/:]+", request.url)[1]))
    page.goto(f"http://127.0.0.1:{server.port}")
    page.get_by_text("Drop an image").first.wait_for()
    yield page
    page.close()


def images_in(folder: Path) -> list[Path]:
    """The files that are not empty: gradio leaves empty ones."""
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size and path.suffix == ".png"]


def test_an_image_gets_its_classes_and_its_map_and_is_not_kept(page: Any, server: Server, tmp_path: Path) -> None:
    classifier = trained_run.load(str(server.run)).classifier
    images_NHWC = Shapes(train_size=120, test_size=40, image_size=12).read("test").images_NHWC
    for index in range(2):  # the second one onto the same page
        path = tmp_path / f"{index}.png"
        Image.fromarray(images_NHWC[index].numpy()).resize((40, 30)).save(path)
        page.locator("input[type=file]").set_input_files(path)
        expected = explain(classifier, str(path)).probabilities
        best = max(expected, key=expected.__getitem__)
        page.get_by_text(f"{expected[best]:.0%}").first.wait_for()
        assert best in page.locator("[data-testid=label-output-value]").inner_text()
        shown = page.get_by_alt_text("The image, and its class-activation map")
        shown.wait_for()
        assert shown.evaluate("image => image.naturalWidth") == 350
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/demo.png")
    assert images_in(server.folder) == []
    assert page.hosts == {"127.0.0.1"}


def test_an_image_with_several_classes_gets_each_that_reaches_the_threshold(chromium: Any, tmp_path: Path) -> None:
    folder, run, path = tmp_path / "images", tmp_path / "a", tmp_path / "yellow.png"
    folder.mkdir()
    rows = ["path,red,green,blue"]
    for number in range(64):
        has_C = [number >> channel & 1 for channel in range(3)]
        Image.new("RGB", (8, 8), tuple(200 * has for has in has_C)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{','.join(map(str, has_C))}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    finish(
        *(f"--config={ROOT / 'configs/multi_label.yaml'}", f"--data.data_dir={folder}", "--data.image_size=8"),
        *(f"--data.labels={tmp_path / 'labels.csv'}", f"--data.cache_dir={tmp_path / 'cache'}", "--data.batch_size=8"),
        *(
            "--data.augment=[]",
            "--model.net=src.models.SimpleCNN",
            "--model.net.image_size=8",
            "--trainer.max_epochs=20",
        ),
        *(f"--trainer.default_root_dir={run}", "--test_after_fit=false"),
    )
    spec = trained_run.load(str(run)).classifier.spec
    Image.new("RGB", (30, 20), (200, 200, 0)).save(path)
    (tmp_path / "temporary").mkdir()
    with serving(run, tmp_path / "temporary") as server:
        page = chromium.new_page(viewport={"width": 1000, "height": 800})
        page.goto(f"http://127.0.0.1:{server.port}")
        page.locator("input[type=file]").set_input_files(path)
        page.get_by_text(f"an image has those of {spec.threshold:.0%} and more").first.wait_for()
        page.get_by_alt_text("The image, and its class-activation map").wait_for()
        shown = dict(re.findall(r"(red|green|blue)\s+(\d+)%", page.locator("body").inner_text()))
        page.close()
    above = {name for name, percent in shown.items() if int(percent) >= 100 * spec.threshold}
    assert shown.keys() == {"red", "green", "blue"} and above == {"red", "green"}


def test_what_is_no_image_is_refused_with_the_reason(page: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    page.locator("input[type=file]").set_input_files(tmp_path / "a.png")
    page.get_by_text("The image cannot be read: not a format that Pillow reads").first.wait_for()
    assert images_in(server.folder) == []


def test_a_large_file_is_refused(page: Any, server: Server, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(3 << 19))
    page.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()
    assert images_in(server.folder) == []


def test_other_machines_have_no_access(server: Server) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)  # all addresses would include it
