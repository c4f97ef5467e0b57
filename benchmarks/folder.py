"""Images/s and memory of `fit` on a folder of 10,000 images and on a large one.

    python -m benchmarks.folder [--images 1000000] [--folder DIR]

Writes both folders (PPM, 32x32, ten classes) to a temporary folder, deleted at the end: a million images need 4 GB for
the files, 3 GB for the cache, and a million inodes. Each turn is a `fit` of the command line with the same steps, the
simple network, flips and logging. The order of the folders alternates; the first ten steps of each epoch are warmup.
Printed is the median of the ratios of the pairs. A last pair reads caches that are not in memory.

`anonymous` is the memory of the process itself, `mapped` are pages of files, mainly of the cache, which the system can
reclaim. Both are peaks, sampled 20 times per second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from benchmarks import report
from benchmarks.turns import ROOT
from src.data.storage.image_cache import PIXELS

SMALL, BATCH, STEPS, WARM_UP = 10_000, 128, 60, 10


class Memory:
    """Peak memory of this process in MB."""

    def __init__(self) -> None:
        self.peaks = {"anonymous": 0.0, "mapped": 0.0}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        names = {"RssAnon": "anonymous", "RssFile": "mapped"}
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if name := names.get(key):
                    self.peaks[name] = max(self.peaks[name], int(value.split()[0]) / 1000)
            time.sleep(0.05)

    def reset(self) -> dict[str, float]:
        """Returns the peaks since the last call."""
        time.sleep(0.1)
        peaks, self.peaks = self.peaks, dict.fromkeys(self.peaks, 0.0)
        return peaks


class Meter(Callback):
    """Writes meter.json to the run directory: images/s, seconds to the first step of an epoch, memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.steps: list[tuple[float, float]] = []  # wall clock and processor time
        self.starts: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.memory.reset()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last = time.perf_counter(), time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter(), time.process_time()
        if batch_idx == 0:
            self.starts.append(now[0] - self.last[0])
        elif batch_idx >= WARM_UP:
            self.steps.append((now[0] - self.last[0], now[1] - self.last[1]))
        self.last = now

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wall, processor = (BATCH * len(self.steps) / sum(seconds) for seconds in zip(*self.steps, strict=True))
        content = {"rate": wall, "processor_rate": processor, "start": statistics.median(self.starts)}
        path = Path(trainer.default_root_dir) / "meter.json"
        path.write_text(json.dumps({**content, **self.memory.reset()}))


def write_images(folder: Path, images: int) -> None:
    """Random squares in ten classes, a thousand files per folder, in the format that is fastest to write."""
    random = np.random.default_rng(0)
    for start in range(0, images, 1000):
        below = folder / f"class{start // 1000 % 10}" / f"{start // 1000:04}"
        below.mkdir(parents=True)
        squares_N44C = random.integers(0, 256, (min(1000, images - start), 4, 4, 3), dtype=np.uint8)
        for number, image_HWC in enumerate(squares_N44C.repeat(8, axis=1).repeat(8, axis=2)):
            (below / f"{number:03}.ppm").write_bytes(b"P6 32 32 255\n" + image_HWC.tobytes())


def open_cache(folder: Path, cache: Path) -> dict[str, float]:
    """Seconds and memory of a process that creates the cache, or finds it."""
    program = (
        "import json, sys, time; from benchmarks.folder import Memory; from src.data import ImageFolder\n"
        "memory = Memory(); before = memory.reset(); started = time.perf_counter()\n"
        "ImageFolder(sys.argv[1], image_size=32, cache_dir=sys.argv[2]).prepare_data()\n"
        "seconds = time.perf_counter() - started; peak = memory.reset()\n"
        "print(json.dumps({'seconds': seconds, 'more': peak['anonymous'] - before['anonymous']}))"
    )
    command = [sys.executable, "-c", program, str(folder), str(cache)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fit(folder: Path, cache: Path, epochs: int) -> dict[str, float]:
    """The content of meter.json after a fit."""
    with tempfile.TemporaryDirectory() as run:
        command = [
            *(sys.executable, "-m", "src", "fit", "--data=ImageFolder", f"--data.data_dir={folder}"),
            *(f"--data.cache_dir={cache}", "--data.image_size=32", f"--data.batch_size={BATCH}"),
            *("--data.augment=[{class_path: src.data.augment.Flip}]", "--model.net=src.models.SimpleCNN"),
            *(f"--trainer.max_epochs={epochs}", f"--trainer.limit_train_batches={STEPS}"),
            *("--trainer.limit_val_batches=5", "--trainer.callbacks+=benchmarks.folder.Meter"),
            *("--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={run}/run", "--test_after_fit=false"),
        ]
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return json.loads((Path(run) / "run" / "meter.json").read_text())


def drop_from_memory(cache: Path) -> None:
    for path in cache.rglob(PIXELS):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="of the large folder")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", help="parent of the temporary folder")
    arguments = parser.parse_args()

    sizes = {"small": SMALL, "large": arguments.images}
    created, found, cold = {}, {}, {}
    pairs: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folders, cache = {side: Path(place) / side for side in sizes}, Path(place) / "cache"
        for side, images in sizes.items():
            write_images(folders[side], images)
            created[side], found[side] = (open_cache(folders[side], cache) for _ in range(2))
        for number in range(arguments.pairs):
            order = list(sizes) if number % 2 == 0 else list(sizes)[::-1]
            pairs.append({side: fit(folders[side], cache, arguments.epochs) for side in order})
            rates = ", ".join(f"{sizes[side]:,}: {pairs[-1][side]['rate']:,.0f} images/s" for side in sizes)
            print(f"pair {number + 1}: {rates}", flush=True)
        for side in sizes:
            drop_from_memory(cache)
            cold[side] = fit(folders[side], cache, 1)

    def row(name: str, form: str, key: str, *measured: dict[str, dict[str, float]]) -> list[object]:
        return [name, *(f"{statistics.median(sides[side][key] for sides in measured):{form}}" for side in sizes)]

    rows = [
        row("images/s", ",.0f", "rate", *pairs),
        row("images/s of processor time", ",.0f", "processor_rate", *pairs),
        row("images/s, cache not in memory, first 60 steps", ",.0f", "rate", cold),
        row("to start an epoch, s", ".2f", "start", *pairs),
        row("anonymous memory in training, MB", ",.0f", "anonymous", *pairs),
        row("mapped memory in training, MB", ",.0f", "mapped", *pairs),
        row("to create the cache, s", ",.1f", "seconds", created),
        row("additional anonymous memory meanwhile, MB", ",.0f", "more", created),
        row("to find the cache, s", ",.2f", "seconds", found),
    ]
    print(f"\n{report.table(['', *(f'{size:,} images' for size in sizes.values())], rows)}\n")
    for name, key in {"": "rate", " of processor time": "processor_rate"}.items():
        ratios = sorted(pair["large"][key] / pair["small"][key] for pair in pairs)
        print(f"large / small, images/s{name}: {statistics.median(ratios):.3f} ", end="")
        print(f"(median of {len(ratios)} pairs, {ratios[0]:.3f} to {ratios[-1]:.3f})")
    print(report.conditions(f"pillow {metadata.version('pillow')}"))


if __name__ == "__main__":
    main()
