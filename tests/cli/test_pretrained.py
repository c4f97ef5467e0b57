"""Runs whose network is built with pretrained weights: these are downloaded once, by the fit that starts from them."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from src.runtime.checkpoint_file import read
from tests.conftest import TINY

pytestmark = pytest.mark.slow

WITHOUT_NET = [*(one for one in TINY if not one.startswith("--model.net")), "--data.image_size=32"]
TORCHVISION = ["--model.net=torchvision.models.squeezenet1_1", "--model.net.weights=DEFAULT"]
TIMM = ["--model.net=timm.create_model", "--model.net.model_name=test_byobnet", "--model.net.pretrained=true"]


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is downloaded, in place of which there are random weights; with "offline" in it, nothing is."""
    names: list[str] = []

    def download(name: str, net: nn.Module, file: str) -> str:
        if "offline" in names:
            raise OSError("no route to host")
        names.append(name)
        torch.save(net.state_dict(), file)
        return file

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    of_torch = torchvision.models.squeezenet1_1()
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, file, *_, **__: download(url, of_torch, file))
    with contextlib.suppress(ModuleNotFoundError):
        timm, hub = (importlib.import_module(name) for name in ("timm", "timm.models._hub"))
        monkeypatch.setattr(hub, "_has_safetensors", False)
        of_timm = timm.create_model("test_byobnet")
        monkeypatch.setattr(hub, "hf_hub_download", lambda name, **_: download(name, of_timm, f"{tmp_path}/timm.bin"))
    return names


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(TORCHVISION, id="torchvision"),
        pytest.param(TIMM, id="timm", marks=[pytest.mark.parts, pytest.mark.filterwarnings("default")]),
    ],
)
def test_a_run_needs_its_pretrained_weights_only_when_it_starts(
    net: list[str], cli: Callable[..., None], downloads: list[str], tmp_path: Path
) -> None:
    cli("fit", *WITHOUT_NET, *net, "--trainer.default_root_dir=run")
    assert len(downloads) == 1
    for weights in (tmp_path / "torch").rglob("*.pth"):
        weights.unlink()
    downloads.append("offline")
    cli("fit", "--resume=run", "--trainer.max_epochs=3")
    cli("test", "--run=run")
    cli("predict", "--run=run", "--trainer.accelerator=cpu")
    Image.new("RGB", (40, 30)).save("a.png")
    for arguments in (["predict", "a.png"], ["export", "a.png", "--format=torch-export"]):
        with pytest.raises(SystemExit) as stop:
            cli(*arguments, "--run=run")
        assert stop.value.code == 0
    without = "--model.net.weights=null" if net is TORCHVISION else "--model.net.pretrained=false"
    cli("fit", *WITHOUT_NET, *net, without, "--model.init_from=run", "--trainer.default_root_dir=other")
    spec = read(tmp_path / "other/checkpoints/last.ckpt")["spec"]
    assert spec["mean"] == read(tmp_path / "run/checkpoints/last.ckpt")["spec"]["mean"] == (0.485, 0.456, 0.406)
    expected = "weights: IMAGENET1K_V1" if net is TORCHVISION else "pretrained: true"
    assert expected in (tmp_path / "run/config.yaml").read_text()
    downloads.remove("offline")
    cli("fit", "--resume=run", "--trainer.max_epochs=4")
    assert len(downloads) == 1


def test_a_run_without_a_connection_is_refused(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # on which nothing listens
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    message = fails("fit", *WITHOUT_NET, *TORCHVISION)
    assert "squeezenet1_1 are not here and cannot be downloaded: " in message
    assert "Give a file of weights as model.init_from, with model.net.weights null" in message
