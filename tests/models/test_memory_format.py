"""Channels-last, and the convolutions that corrupt memory in it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from src.models.memory_format import keep_contiguous
from tests.conftest import ROOT
from tests.toys import classifier

# Several steps, since one that writes past its buffer does not always crash.
_TRAIN = """
import sys, torch
from src.models.memory_format import keep_contiguous
torch.set_num_threads(1)
conv = torch.nn.Conv2d({channels}, 48, 1, stride={stride}, bias=False).to(memory_format=torch.channels_last)
if {safe}:
    assert keep_contiguous(conv) == [""]
for _ in range(30):
    images_BCHW = torch.rand(32, {channels}, 32, 32).to(memory_format=torch.channels_last)
    output_BCHW = conv(images_BCHW)
    conv.weight.grad = None
    output_BCHW.square().sum().backward()
    expected = 2 * torch.einsum("bohw,bihw->oi", output_BCHW, images_BCHW[..., ::{stride}, ::{stride}])
    torch.testing.assert_close(conv.weight.grad[..., 0, 0], expected, rtol=1e-3, atol=1e-1)
"""


def succeeds(**kwargs: object) -> bool:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", _TRAIN.format(**kwargs)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif("AVX" not in torch.backends.cpu.get_cpu_capability(), reason="oneDNN's fault needs AVX2")
def test_onednn_still_corrupts_memory() -> None:
    """Where this fails, remove src/models/memory_format.py."""
    assert not succeeds(channels=3, stride=2, safe=False)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "stride"), [(3, 2), (7, 4)])
def test_an_unsafe_convolution_has_the_right_gradient(channels: int, stride: int) -> None:
    assert succeeds(channels=channels, stride=stride, safe=True)


@pytest.mark.parametrize(
    ("arguments", "unsafe"),
    [
        ({"in_channels": 3, "kernel_size": 1, "stride": 2}, True),
        ({"in_channels": 15, "kernel_size": 1, "stride": (1, 4)}, True),
        ({"in_channels": 1, "kernel_size": 1, "stride": 2}, False),
        ({"in_channels": 16, "kernel_size": 1, "stride": 2}, False),
        ({"in_channels": 3, "kernel_size": 1, "stride": 1}, False),
        ({"in_channels": 3, "kernel_size": 3, "stride": 2}, False),
        ({"in_channels": 4, "kernel_size": 1, "stride": 2, "groups": 4}, False),
    ],
)
def test_only_unsafe_convolutions_stay_contiguous(arguments: dict, unsafe: bool) -> None:
    conv = nn.Conv2d(out_channels=8, **arguments)
    net = nn.Sequential(nn.ReLU(), conv).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    assert keep_contiguous(net) == (["1"] if unsafe else [])
    inputs: list[torch.Tensor] = []
    conv.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    conv(torch.rand(2, arguments["in_channels"], 8, 8).to(memory_format=torch.channels_last))
    assert inputs[0].is_contiguous() == (unsafe or arguments["in_channels"] == 1)
    assert (conv.weight.stride()[1:] == (1, 1, 1)) == (unsafe or arguments["kernel_size"] == 1 == conv.weight.shape[1])


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_classifier_names_the_layers(channels_last: bool, caplog: pytest.LogCaptureFixture) -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1, stride=2), nn.Flatten(), nn.Linear(12, 3))
    with caplog.at_level(logging.INFO):
        classifier(net=net, channels_last=channels_last)
    assert "on a CPU, oneDNN corrupts memory in channels-last 0: kept contiguous" in caplog.text
