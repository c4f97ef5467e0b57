"""The values that a report shows, and what is missing in it.

Shapes: N samples, B of them shown, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from torch import nn

from src.callbacks.class_names import class_names
from src.callbacks.report import facts, figures, measurements, scores
from src.callbacks.report.network import NetworkOnImages
from src.callbacks.sharded_network import IS_SHARDED, is_sharded
from src.callbacks.shown_samples import activation_maps, captions, confident_mistakes, images_of, mistaken_classes
from src.callbacks.test_samples import TestSamples
from src.data import ImageDataModule
from src.errors import first_line, shortened

_CLASSES, _PAIRS, _MISTAKES = 30, 10, 12  # at most, so many are shown


class Card:
    """Collects the values for the template and writes the images.

    Args:
        trainer: after a test.
        module: that was tested.
        samples: of the test.
        groups: of the samples, by their index; None if there are none.
        num_images: see `Report`.
    """

    def __init__(
        self,
        trainer: Trainer,
        module: LightningModule,
        samples: TestSamples,
        groups: Mapping[int, str] | None,
        num_images: int,
    ) -> None:
        self.directory = Path(trainer.default_root_dir)
        self._images = self.directory / "report"
        self.title = "/".join(self.directory.absolute().parts[-2:])
        self._trainer, self._module, self._samples = trainer, module, samples
        self._groups, self._num_images = groups, num_images
        self._names = class_names(trainer, samples.logits_NK.shape[1])
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        self._data = data if isinstance(data, ImageDataModule) else None
        self._seed = self._data.seed if self._data else 0
        self._missing: list[str] = []

    def values(self) -> dict[str, Any]:
        """Everything that the template shows; writes its images into `report/`."""
        self._images.mkdir(parents=True, exist_ok=True)
        figures.save_reliability(self._images / "reliability.png", self._samples)
        config: dict[str, Any] = getattr(self._module, "config", None) or {}
        recipe = {key: config[key] for key in ("seed_everything", "model", "data") if key in config}
        found = {
            "title": self.title,
            "num_classes": len(self._names),
            "num_samples": len(self._samples.labels_N),
            "multi_label": self._samples.multi_label,
            "threshold": self._samples.threshold,
            "class_list": ", ".join(self._names[:_CLASSES]) + (" and others" if len(self._names) > _CLASSES else ""),
            "main_score": scores.AVERAGE_PRECISION if self._samples.multi_label else scores.ACCURACY,
            "overall": scores.overall(self._samples, self._seed),
            "pairs": scores.confused_pairs(self._samples, self._names, _PAIRS),
            "training": facts.training(self._trainer, self._module),
            "config": yaml.safe_dump(recipe, sort_keys=False) if recipe else "",
            **self._classes(),
            **self._by_group(),
            **self._measured(),
        }
        return found | {"missing": self._missing}

    def _classes(self) -> dict[str, Any]:
        classes = scores.by_class(self._samples, self._names)
        tested = [one for one in classes if one.samples]
        if empty := [one.name for one in classes if not one.samples]:
            self._missing.append(f"The test set has no images of {shortened(empty)}.")
        if len(tested) == 1 and not self._samples.multi_label:
            self._missing.append("All test images are of one class, so mistakes between classes are not measured.")
        recalls = [one.recall.value for one in tested]
        gap = 100 * (max(recalls) - min(recalls)) if len(tested) > 1 else None
        return {"classes": classes, "shown_classes": classes[:_CLASSES], "class_gap": gap}

    def _by_group(self) -> dict[str, Any]:
        if self._groups is None:
            return {"groups": None}
        indices = set(self._samples.indices_N.tolist())
        without, unknown = len(indices - self._groups.keys()), len(self._groups.keys() - indices)
        if without:
            self._missing.append(f"{without:,} of {len(indices):,} test images are not in the file of groups.")
        if unknown:
            self._missing.append(f"{unknown:,} of {len(self._groups):,} samples in that file are not in the test set.")
        return {"groups": scores.by_group(self._samples, self._groups)}

    def _measured(self) -> dict[str, Any]:
        """What needs the images, or the network again."""
        found: dict[str, Any] = {"calibration": None, "robustness": [], "data": {}, "provenance": (), "has_maps": False}
        found["robust_images"] = min(self._num_images, len(self._samples.labels_N))
        network, cost = self._network(), None
        if network:
            with self._part("The cost"):
                cost = network.cost(self._samples.indices_N)
        found["model"] = facts.model(self._trainer, self._module, cost)
        if network and self._data and self._num_images:
            with self._part("The temperature"):
                found["calibration"] = self._calibration(network, self._data)
            with self._part("Robustness"):
                found["robustness"] = measurements.robustness(network, self._samples, self._seed, self._num_images)
        if self._data:
            found["data"], found["provenance"] = facts.data(self._data), self._data.provenance
        return found | {"has_mistakes": bool(self._data) and self._save_mistakes(found)}

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        """Lists a measurement among what is missing if the network, or the data, fail in it."""
        try:
            yield
        except Exception as error:
            self._missing.append(f"{name} could not be measured: {first_line(error)} ({type(error).__name__})")

    def _network(self) -> NetworkOnImages | None:
        if not self._data:
            self._missing.append("The images are not those of an ImageDataModule: nothing that needs them is measured.")
        elif is_sharded(self._trainer, self._module):
            self._missing.append(f"Robustness and cost are not measured: {IS_SHARDED}.")
        else:
            return NetworkOnImages(self._trainer, self._module, self._data)
        return None

    def _calibration(self, network: NetworkOnImages, data: ImageDataModule) -> measurements.Calibration | None:
        """Writes the diagram after temperature scaling."""
        found = measurements.calibrate(network, data, self._samples, self._num_images)
        if found:
            after = measurements.scaled(self._samples, found.temperature)
            figures.save_reliability(self._images / "reliability_scaled.png", after)
        else:
            self._missing.append("There is no validation set, on which a temperature could be fitted.")
        return found

    def _save_mistakes(self, found: dict[str, Any]) -> bool:
        """Writes the image of the mistakes, if there are any."""
        rows_B = confident_mistakes(self._samples, _MISTAKES)
        net = getattr(self._module, "net", None)
        if not len(rows_B) or not self._data:
            return False
        images_BHWC = images_of(self._data, self._samples, rows_B)
        maps_BHW = None
        if isinstance(net, nn.Module) and not is_sharded(self._trainer, net):
            classes_B = mistaken_classes(self._samples, rows_B)
            with self._part("What the network looks at"):
                maps_BHW = activation_maps(net, self._data, images_BHWC, classes_B)
        if maps_BHW is None:
            self._missing.append("There are no class-activation maps, for which the network needs a feature map.")
        found["has_maps"] = maps_BHW is not None
        texts = captions(self._samples, rows_B, self._names)
        figures.save_mistakes(self._images / "mistakes.png", images_BHWC, texts, maps_BHW)
        return True
