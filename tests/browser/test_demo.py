"""The page of `python -m src demo`, as a browser shows it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, run = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("run") / "a"
    finish(*TINY, f"--trainer.default_root_dir={run}", "--test_after_fit=false")
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    command = [sys.executable, "-m", "src", "demo", f"--run={run}", f"--port={port}", "--max_upload=1"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)})
    try:
        wait_for(f"http://127.0.0.1:{port}", containing="gradio")
        yield Server(run, port, folder)
    finally:
        process.terminate()
        process.wait()


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
