"""The fenced code blocks of README and docs/, and a copy of the project in which they run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from tests.conftest import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"#\s*(\S+\.(?:py|yaml))\n")

# Runs the commands in one process, each as `python -m src` does, on a few samples of each built-in dataset.
_RUNNER = """
import contextlib, json, runpy, sys
import torch
from src.data import CIFAR10, ImageSet, Shapes

def read_cifar10(self, subset):
    generator = torch.Generator().manual_seed(0)
    return ImageSet(torch.randint(256, (20, 32, 32, 3), dtype=torch.uint8, generator=generator), torch.arange(20) % 10)

def read_shapes(self, subset, read=Shapes.read):
    return ImageSet(*(tensor[:60] for tensor in read(self, subset)))

torch.set_num_threads(1)
CIFAR10.prepare_data, CIFAR10.read, Shapes.read = lambda self: None, read_cifar10, read_shapes
for kind, step in json.loads(sys.argv[1]):
    print(f"$ {step}", flush=True)
    if kind == "python":
        exec(step, {})
        continue
    arguments, file = (step[:-2], step[-1]) if step[-2:-1] == [">"] else (step, None)
    sys.argv = ["src", *arguments]
    try:
        with contextlib.redirect_stdout(open(file, "w")) if file else contextlib.nullcontext():
            runpy.run_module("src", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if stop.code:
            sys.exit(stop.code)
"""


class Block(NamedTuple):
    """A fenced code block.

    Attributes:
        language: the word after the fence.
        text: the content.
        line: of its first line in the document, from 1.
    """

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The path in a comment on the first line of a snippet, if it is a file."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, without comments, one per line."""
        joined = re.sub(r"\s*\\\n\s*", " ", self.text).splitlines()
        return [command for line in joined if (command := line.split(" #")[0].strip())]


def blocks(text: str) -> list[Block]:
    """The code blocks of a document."""
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 2) for match in _FENCE.finditer(text)]


def project_copy(folder: Path) -> Path:
    """A copy of what the commands need, with images to train on in `my_images` and a FashionMNIST in `data`."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("src", "configs", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    write_images(folder / "my_images")
    raw = folder / "data/FashionMNIST/raw"
    raw.mkdir(parents=True)
    for name in ("train", "t10k"):
        # The format of these files: a type, the sizes as big-endian integers, the values.
        images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(_idx(images))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(_idx(np.arange(40, dtype=np.uint8) % 10))
    return folder


def _idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">i4").tobytes() + values.tobytes()


def write_images(folder: Path, per_class: int = 20) -> None:
    """Three classes of PNG files, 40 x 30 pixels: one of the three channels is bright; a file with their labels, and
    one with two attributes."""
    generator = torch.Generator().manual_seed(0)
    for channel, name in enumerate(("bird", "cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            image_HWC = torch.randint(0, 100, (30, 40, 3), dtype=torch.uint8, generator=generator)
            image_HWC[..., channel] += 120
            Image.fromarray(image_HWC.numpy()).save(folder / name / f"{number}.png")
    paths = sorted(path.relative_to(folder) for path in folder.glob("*/*.png"))
    (folder / "labels.csv").write_text("".join(["path,label\n", *(f"{path},{path.parts[0]}\n" for path in paths)]))
    rows = (f"{path},{int(path.parts[0] != 'dog')},{int(path.parts[0] != 'bird')}\n" for path in paths)
    (folder / "attributes.csv").write_text("".join(["path,small,pet\n", *rows]))


def run_steps(folder: Path, steps: list[tuple[str, list[str] | str]]) -> str:
    """Runs `("src", arguments)` and `("python", code)` one after another in `folder`; returns the output.

    Raises:
        AssertionError: with the end of the output, if a step fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, json.dumps(steps)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout
