"""Runs whose network is built with pretrained weights: these are downloaded once, by the fit that starts from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from tests.conftest import TINY

pytestmark = pytest.mark.slow

ARGUMENTS = [
    *(one for one in TINY if not one.startswith("--model.net")),
    *("--model.net=torchvision.models.squeezenet1_1", "--model.net.weights=DEFAULT", "--data.image_size=32"),
]


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The URLs that are downloaded, each of which serves random weights; with "offline" in it, none is."""
    urls: list[str] = []

    def download(url: str, file: str, *args: object, **kwargs: object) -> None:
        if "offline" in urls:
            raise OSError("no route to host")
        urls.append(url)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), file)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return urls


def test_a_run_needs_its_pretrained_weights_only_when_it_starts(
    cli: Callable[..., None], downloads: list[str], tmp_path: Path
) -> None:
    cli("fit", *ARGUMENTS, "--trainer.default_root_dir=run")
    assert len(downloads) == 1
    next((tmp_path / "torch").rglob("*.pth")).unlink()
    downloads.append("offline")
    cli("fit", "--resume=run", "--trainer.max_epochs=3")
    cli("test", "--run=run")
    cli("predict", "--run=run", "--trainer.accelerator=cpu")
    Image.new("RGB", (40, 30)).save("a.png")
    for arguments in (["predict", "a.png"], ["export", "a.png", "--format=torch-export"]):
        with pytest.raises(SystemExit) as stop:
            cli(*arguments, "--run=run")
        assert stop.value.code == 0
    cli("fit", *ARGUMENTS, "--model.net.weights=null", "--model.init_from=run", "--trainer.default_root_dir=other")
    assert "weights: IMAGENET1K_V1" in (tmp_path / "run/config.yaml").read_text()


def test_a_run_without_a_connection_is_refused(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # on which nothing listens
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    message = fails("fit", *ARGUMENTS)
    assert "squeezenet1_1 are not here and cannot be downloaded: " in message and "Give a file of weights" in message
