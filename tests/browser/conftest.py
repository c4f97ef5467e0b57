"""Two runs, TensorBoard over them, and Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY_WITH_IMAGES
from tests.processes import finish

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
RATES = {"small": 0.002, "large": 0.004}  # the learning rates of the two runs


def missing(reason: str) -> None:
    """Skips a test without a browser; fails it under REQUIRE_BROWSER."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"{reason}, and REQUIRE_BROWSER does not allow a skip")
    pytest.skip(f"{reason}: `make browser` installs the package, the system's package manager Chromium")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if find_spec("playwright") is None:
        return missing("playwright is not installed")
    if CHROMIUM is None:
        return missing("Chromium is not installed")
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        # Containers often have no user namespaces, which the sandbox needs, and no GPU, which the projector needs.
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def logs(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of two runs of three epochs, which differ in their learning rate."""
    folder = tmp_path_factory.mktemp("logs")
    for name, rate in RATES.items():
        finish(
            *(
                *TINY_WITH_IMAGES,
                "--trainer.max_epochs=3",
                "--trainer.log_every_n_steps=2",
                f"--model.optimizer.lr={rate}",
            ),
            *("--model.lr_scheduler=src.optim.WarmupDecay", f"--trainer.default_root_dir={folder / 'shapes' / name}"),
        )
    return folder


@pytest.fixture(scope="session")
def address(logs: Path) -> Iterator[str]:
    """The address of a TensorBoard over both runs."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://localhost:{port}/"
    try:
        wait_for(f"{url}data/runs", containing="large/hparams")
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, containing: str, seconds: float = 60) -> None:
    """Waits until a server answers with a text."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url) as answer:
                if containing in answer.read().decode():
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} does not answer with {containing} within {seconds} s")
