"""Images/s and memory of `fit` on a folder of 10,000 images and on a large one, in turns.

    python benchmarks/folder.py [--images 1000000] [--folder DIR]

Makes both folders (PPM, 32 x 32, ten classes) in a temporary folder, deleted at the end: a million take 4 GB for
the files, 3 GB for the cache, and as many inodes as images. Each turn is a `fit` of the command line in a process
of its own, the same steps on both, with the simple network, mirroring and all logging. The folders take turns, and
in the other order each time; the first ten steps of each epoch warm up and are left out. The ratio of each pair is
taken, then their median. Then once more from the disk alone: caches that are not in the system's memory.

Memory is that of the process: `anonymous` is what it has to itself, `mapped` are pages of files, foremost of
the cache, which the system takes back when it needs room. Both at their peak, read 20 times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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

ROOT = Path(__file__).parent.parent
SMALL, BATCH, STEPS, WARM_UP = 10_000, 128, 60, 10


class Memory:
    """The most that this process held since the last look, in MB."""

    def __init__(self) -> None:
        self.peak = {"anonymous": 0.0, "mapped": 0.0}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        names = {"RssAnon": "anonymous", "RssFile": "mapped"}
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                key, _, value = line.partition(":")
                if name := names.get(key):
                    self.peak[name] = max(self.peak[name], int(value.split()[0]) / 1000)
            time.sleep(0.05)

    def look(self) -> dict[str, float]:
        """The peaks since the last call."""
        time.sleep(0.1)
        seen, self.peak = self.peak, dict.fromkeys(self.peak, 0.0)
        return seen


class Meter(Callback):
    """Writes meter.json into the run directory: images/s, seconds to begin an epoch, memory."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.steps: list[float] = []
        self.processor: list[float] = []
        self.begins: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.memory.look()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last, self.spent = time.perf_counter(), time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, spent = time.perf_counter(), time.process_time()
        if batch_idx == 0:
            self.begins.append(now - self.last)
        elif batch_idx >= WARM_UP:
            self.steps.append(now - self.last)
            self.processor.append(spent - self.spent)
        self.last, self.spent = now, spent

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        content = {
            "rate": BATCH * len(self.steps) / sum(self.steps),
            "processor_rate": BATCH * len(self.processor) / sum(self.processor),
            "begin": statistics.median(self.begins),
            **self.memory.look(),
        }
        (Path(trainer.default_root_dir) / "meter.json").write_text(json.dumps(content))


def draw(folder: Path, images: int) -> None:
    """Random squares in ten classes, a thousand files a folder, as PPM: of all formats the fastest to write."""
    random = np.random.default_rng(0)
    for start in range(0, images, 1000):
        below = folder / f"class{start // 1000 % 10}" / f"{start // 1000:04}"
        below.mkdir(parents=True)
        squares_N44C = random.integers(0, 256, (min(1000, images - start), 4, 4, 3), dtype=np.uint8)
        for number, image_HWC in enumerate(squares_N44C.repeat(8, axis=1).repeat(8, axis=2)):
            (below / f"{number:03}.ppm").write_bytes(b"P6 32 32 255\n" + image_HWC.tobytes())


def open_cache(folder: Path, cache: Path) -> dict[str, float]:
    """Seconds and memory of a process that makes the cache, or finds it made."""
    program = (
        "import json, sys, time; from benchmarks.folder import Memory; from src.data import ImageFolder\n"
        "memory = Memory(); before = memory.look(); began = time.perf_counter()\n"
        "ImageFolder(sys.argv[1], image_size=32, cache_dir=sys.argv[2]).prepare_data()\n"
        "seconds = time.perf_counter() - began; peak = memory.look()\n"
        "print(json.dumps({'seconds': seconds, 'more': peak['anonymous'] - before['anonymous']}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(cache)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def fit(folder: Path, cache: Path, epochs: int) -> dict[str, float]:
    """What the meter saw."""
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


def forget(cache: Path) -> None:
    """Lets the system drop what it keeps of the files in memory."""
    for path in cache.rglob("pixels.u8"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def show(
    sizes: dict[str, int],
    pairs: list[dict[str, dict[str, float]]],
    cold: dict[str, dict[str, float]],
    made: dict[str, dict[str, float]],
    again: dict[str, dict[str, float]],
) -> None:
    """Prints the table."""

    def row(name: str, form: str, values: dict[str, float]) -> None:
        print(f"| {name} | {values['small']:{form}} | {values['large']:{form}} |")

    def median(key: str) -> dict[str, float]:
        return {side: statistics.median(pair[side][key] for pair in pairs) for side in sizes}

    print(f"\n| | {sizes['small']:,} images | {sizes['large']:,} |\n| --- | --- | --- |")
    row("images/s", ",.0f", median("rate"))
    row("images/s of processor time", ",.0f", median("processor_rate"))
    row("images/s, cache not in memory, first 60 steps", ",.0f", {side: cold[side]["rate"] for side in sizes})
    row("to begin an epoch, s", ".2f", median("begin"))
    row("anonymous memory, training, MB", ",.0f", median("anonymous"))
    row("mapped memory, training, MB", ",.0f", median("mapped"))
    row("to make the cache, s", ",.1f", {side: made[side]["seconds"] for side in sizes})
    row("anonymous memory more than before, meanwhile, MB", ",.0f", {side: made[side]["more"] for side in sizes})
    row("to find it made, s", ",.2f", {side: again[side]["seconds"] for side in sizes})
    for name, key in {"": "rate", " of processor time": "processor_rate"}.items():
        ratios = sorted(pair["large"][key] / pair["small"][key] for pair in pairs)
        print(f"\nlarge by small, images/s{name}: {statistics.median(ratios):.3f}", end="")
        print(f" (median of {len(ratios)} pairs, {ratios[0]:.3f} to {ratios[-1]:.3f})")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "lightning", "pillow"))
    print(f"{versions}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}")


def main() -> None:
    """Makes the folders and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="of the large folder")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", help="where the temporary folder is to be")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        sizes = {"small": SMALL, "large": arguments.images}
        folders = {side: Path(place) / side for side in sizes}
        cache = Path(place) / "cache"
        made, again = {}, {}
        for side, images in sizes.items():
            began = time.perf_counter()
            draw(folders[side], images)
            print(f"{images:,} files written in {time.perf_counter() - began:.0f} s", flush=True)
            made[side], again[side] = (open_cache(folders[side], cache) for _ in range(2))
        pairs: list[dict[str, dict[str, float]]] = []
        for number in range(arguments.pairs):
            order = list(sizes) if number % 2 == 0 else list(sizes)[::-1]
            pairs.append({side: fit(folders[side], cache, arguments.epochs) for side in order})
            rates = ", ".join(f"{sizes[side]:,}: {pairs[-1][side]['rate']:,.0f} images/s" for side in sizes)
            print(f"pair {number + 1}: {rates}", flush=True)
        cold = {}
        for side in sizes:
            forget(cache)
            cold[side] = fit(folders[side], cache, 1)
        # Within, as removing a million files takes minutes.
        show(sizes, pairs, cold, made, again)


if __name__ == "__main__":
    main()
