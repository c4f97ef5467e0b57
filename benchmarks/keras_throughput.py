"""Pictures a second of notebook 000, by `fit` with everything on and by Keras 3, side by side in one run.

    python benchmarks/keras_throughput.py --keras_python PATH --data_dir DIR

`PATH` is a Python that has keras and a backend, for example of an environment made by
`python3 -m venv keras && keras/bin/pip install keras tensorflow-cpu`. Each side trains the deep network with
its augmentation on real CIFAR-10, batch 128, RMSprop. The sides take turns, and in the other order each time;
the first epoch of each turn warms up and is left out. The ratio of each pair is taken, then their median.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent

# What notebook 000 runs, on as many pictures as were asked for; prints the seconds of its epochs.
KERAS = """
import json, os, sys, time
backend, path, pictures, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.environ["KERAS_BACKEND"] = backend
import keras, numpy
from keras import layers
archive = numpy.load(path)
images, labels = archive["images"][:pictures].astype("float32") / 255, archive["labels"][:pictures]
targets = keras.utils.to_categorical(labels, 10)
model = keras.Sequential([
    keras.Input((32, 32, 3)),
    layers.RandomFlip("horizontal"), layers.RandomRotation(0.05),
    layers.RandomZoom(0.1), layers.RandomTranslation(0.1, 0.1),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.Conv2D(32, 3, padding="same", activation="relu"),
    layers.MaxPooling2D(), layers.Dropout(0.25),
    layers.Conv2D(64, 3, padding="same", activation="relu"), layers.Conv2D(64, 3, activation="relu"),
    layers.MaxPooling2D(), layers.Dropout(0.25), layers.Flatten(),
    layers.Dense(512, activation="relu"), layers.Dropout(0.5), layers.Dense(10, activation="softmax"),
])
model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.RMSprop(), metrics=["accuracy"])
seconds = []
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        seconds.append(time.perf_counter() - self.began)
model.fit(images, targets, batch_size=128, epochs=epochs, verbose=0, callbacks=[Clock()])
print(json.dumps({"seconds": seconds, "parameters": model.count_params(), "keras": keras.__version__}))
"""


def keras_rate(python: str, backend: str, data: Path, pictures: int, epochs: int) -> tuple[float, str]:
    """Pictures a second, and the version."""
    command = [python, "-c", KERAS, backend, str(data), str(pictures), str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["parameters"] == 1_676_842, "the two sides do not train the same network"
    return pictures / statistics.median(said["seconds"][1:]), said["keras"]


def fit_rate(data_dir: str, pictures: int, epochs: int, precision: str) -> float:
    """Pictures a second, without validation as on the other side."""
    steps = -(-pictures // 128)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "src", "fit", "--config=configs/notebooks/000_deep_augmented.yaml"),
            *(f"--data.data_dir={data_dir}", "--data.val_fraction=0", f"--trainer.limit_train_batches={steps}"),
            *(f"--trainer.max_epochs={epochs}", f"--trainer.precision={precision}", "--test_after_fit=false"),
            *(f"--trainer.default_root_dir={folder}/run", "--trainer.enable_progress_bar=false"),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = [float(value) for value in re.findall(r"^epoch .*, ([\d.]+) s$", done.stdout, re.MULTILINE)]
    assert len(seconds) == epochs
    return steps * 128 / statistics.median(seconds[1:])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras_python", required=True)
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--backend", default="tensorflow", choices=["tensorflow", "jax", "torch"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--pictures", type=int, default=12800)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()

    import numpy
    from torchvision.datasets import CIFAR10

    source = CIFAR10(arguments.data_dir, train=True)
    pairs: list[tuple[float, float]] = []
    version = ""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "cifar10.npz"
        numpy.savez(data, images=source.data, labels=numpy.array(source.targets))
        for number in range(arguments.pairs):
            sides = {}
            for side in ("fit", "keras") if number % 2 == 0 else ("keras", "fit"):
                if side == "fit":
                    sides[side] = fit_rate(
                        arguments.data_dir, arguments.pictures, arguments.epochs, arguments.precision
                    )
                else:
                    sides[side], version = keras_rate(
                        arguments.keras_python, arguments.backend, data, arguments.pictures, arguments.epochs
                    )
            pairs.append((sides["fit"], sides["keras"]))
            print(f"pair {number + 1}: fit {sides['fit']:,.0f}, Keras {sides['keras']:,.0f} pictures/s", flush=True)

    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"\n| notebook 000, {arguments.pictures:,} pictures an epoch | pictures/s |")
    print("| --- | --- |")
    print(f"| `fit`, precision {arguments.precision}, all logging | {statistics.median(p[0] for p in pairs):,.0f} |")
    print(f"| Keras {version} on {arguments.backend} | {statistics.median(p[1] for p in pairs):,.0f} |")
    print(f"| median of the pairs' ratios | {ratio:.2f} |")
    print(f"\ntorch {metadata.version('torch')}, lightning {metadata.version('lightning')}, {platform.machine()}")


if __name__ == "__main__":
    main()
