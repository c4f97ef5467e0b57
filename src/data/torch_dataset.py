"""A dataset of torchvision, or of your own with `__getitem__`.

Shapes: N images, H rows, W columns, C channels.
"""

import contextlib
import inspect
import pickle
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Preparation, Subset
from src.data.storage import image_cache
from src.data.storage.image_cache import ImageCache
from src.data.storage.progress import progress
from src.errors import UserError, shortened

COMPARED = 64  # samples whose pixels tell whether files that a dataset reads have changed
TOLERANCE = 1 / 255  # by which an image may leave [0, 1], as resizing by splines makes it


class TorchDataset(ImageDataModule):
    """Any map-style dataset of images and labels, such as `torchvision.datasets.MNIST`: each sample is read once, into
    the cache, and what follows is as for the other datasets.

    A sample is an image and an integer label, or, where an image can have several classes, a vector of 0 and 1 with one
    number per class. The image is one of Pillow, a uint8 array (H, W) or (H, W, C), or a
    tensor (C, H, W), uint8 or floats in [0, 1]; all have the same size. Random transforms of the dataset would be
    sampled once, so give them as `augment`. All is read again when the dataset's attributes or the code of its class
    have changed, or one of 64 samples.
    """

    def __init__(
        self,
        train: Dataset,
        test: Dataset | None = None,
        classes: Sequence[str] | None = None,
        cache_dir: str = "data/cache",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            train: the training set, by class path.
            test: the test set, by class path; null for none.
            classes: their names; null takes the dataset's attribute `classes`, or numbers.
            cache_dir: folder for the decoded images.
            **kwargs: see ImageDataModule.
        """
        super().__init__(**kwargs)
        of_both = [list(map(str, own)) for one in (train, test) if (own := getattr(one, "classes", None))]
        if classes is None and len(of_both) == 2 and of_both[0] != of_both[1]:
            raise ValueError(
                f"data.train has the classes {shortened(of_both[0])}, and data.test {shortened(of_both[1])}: their "
                "labels would have different meanings. Give both the same"
            )
        self.train, self.test = train, test
        self._caches: dict[Subset, ImageCache] = {}
        self.cache_dir = Path(cache_dir).expanduser().absolute()
        _, first = _sample(train, 0)
        self.multi_label = first.ndim == 1
        named = classes or getattr(train, "classes", None)
        if not named:
            named = range(len(first) if self.multi_label else int(self._labels_of_train_N.max()) + 1)
        self.classes = tuple(map(str, named))

    @property
    def has_test(self) -> bool:
        return self.test is not None

    @cached_property
    def _labels_of_train_N(self) -> Tensor:
        """Without reading the images, where torchvision's datasets have the labels in an attribute."""
        for name in ("targets", "labels"):
            if (labels := getattr(self.train, name, None)) is not None:
                return torch.as_tensor(labels)
        return self._cache("train").images.labels_N

    def _cache(self, subset: Subset) -> ImageCache:
        """The cache of a subset, created if some of its samples are not those of the dataset."""
        if subset not in self._caches:
            self._caches[subset] = self._opened(self.train if subset == "train" else self.test)
        return self._caches[subset]

    def _opened(self, dataset: Any) -> ImageCache:
        if not len(dataset):
            raise UserError(f"{type(dataset).__name__} has no samples")
        state = _state(dataset)
        digest = blake2b(digest_size=12)
        for index in range(0, len(dataset), max(1, len(dataset) // COMPARED)):
            image_HWC, label = _sample(dataset, index)
            digest.update(f"{image_HWC.shape} {label.tolist()}".encode() + image_HWC.tobytes())
        key = {
            "dataset": f"{type(dataset).__module__}.{type(dataset).__qualname__}",
            "samples": len(dataset),
            "state": state,
        }
        key["content"] = digest.hexdigest()
        folder = self.cache_dir / f"{type(dataset).__name__}-{digest.hexdigest()}"
        if not (cache := image_cache.load(folder, **key)):
            images = _decoded(dataset)
            if not self.cache_writable:
                return ImageCache(folder, images, key)
            image_cache.save(folder, images, **key)
            # Another process may have replaced it by that of another state.
            cache = image_cache.load(folder, **key) or ImageCache(folder, images, key)
        return cache

    def pending_preparation(self) -> Preparation | None:
        return None

    def setup(self, stage: str) -> None:
        """Also measures mean and std on the training set."""
        super().setup(stage)
        if not hasattr(self, "mean"):
            images_NHWC = self.image_set("train").images_NHWC
            counts_C256 = np.stack(
                [np.bincount(c.numpy().ravel(), minlength=256) for c in images_NHWC.cpu().unbind(-1)]
            )
            measured = image_cache.mean_and_std(counts_C256)
            self.mean, self.std = tuple(measured["mean"]), tuple(measured["std"])

    def read(self, subset: Subset) -> ImageSet:
        if subset == "test" and self.test is None:
            raise UserError("data.test is null, so there is no test set; give one, or use `python -m src validate`")
        return self._cache(subset).images


class _StatePickler(pickle.Pickler):
    """Pickles tensors by their values, not by the addresses of their storages."""

    def reducer_override(self, obj: Any) -> Any:
        return (bytes, (obj.numpy(force=True).tobytes(),)) if isinstance(obj, Tensor) else NotImplemented


def _state(dataset: object) -> str:
    """Checksum of the attributes of a dataset that can be pickled, and of the code of its class."""
    digest = blake2b(digest_size=12)
    with contextlib.suppress(OSError, TypeError):  # there is no file
        digest.update(inspect.getsource(type(dataset)).encode())
    file: Any = SimpleNamespace(write=digest.update)
    for attribute in getattr(dataset, "__dict__", {}).items():
        with contextlib.suppress(Exception):  # which differ by what cannot be pickled
            _StatePickler(file, protocol=5).dump(attribute)
    return digest.hexdigest()


def _decoded(dataset: Any) -> ImageSet:
    n = len(dataset)
    first_HWC, first = _sample(dataset, 0)
    images_NHWC, labels_N = np.empty((n, *first_HWC.shape), np.uint8), np.empty((n, *first.shape), np.int64)
    with progress(type(dataset).__name__, n, " images") as bar:
        for index in range(n):
            image_HWC, label = _sample(dataset, index)
            if image_HWC.shape != first_HWC.shape:
                raise UserError(
                    f"sample {index} of {type(dataset).__name__} has shape {image_HWC.shape} and sample 0 "
                    f"{first_HWC.shape}; give the dataset a transform that resizes, such as "
                    "torchvision.transforms.Resize, or use ImageFolder"
                )
            if label.shape != first.shape:
                raise UserError(
                    f"sample {index} of {type(dataset).__name__} has labels of shape {label.shape} and sample 0 of "
                    f"{first.shape}; each must be an integer, or each a vector with 0 or 1 for each class"
                )
            images_NHWC[index], labels_N[index] = image_HWC, label
            bar.update()
    return ImageSet(torch.from_numpy(images_NHWC), torch.from_numpy(labels_N))


def _sample(dataset: Any, index: int) -> tuple[np.ndarray, np.ndarray]:
    """An image as uint8 (H, W, C), and its label, int64 () or (K,)."""
    sample, name = dataset[index], f"sample {index} of {type(dataset).__name__}"
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        length = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
        raise UserError(f"{name} is a {type(sample).__name__}{length}; it must be a tuple of an image and a label")
    image, label = sample
    if isinstance(image, Tensor):
        image = image.movedim(0, -1) if image.dim() == 3 else image
        if image.is_floating_point():
            if not (image.min() >= -TOLERANCE and image.max() <= 1 + TOLERANCE):
                raise UserError(
                    f"{name} is an image of floats from {image.min():.3g} to {image.max():.3g}; they must be in "
                    "[0, 1]. Leave out a transform such as Normalize: the data module normalizes"
                )
            image = (image * 255).round().clamp(0, 255).byte()
    image_HWC = np.atleast_3d(np.asarray(image))
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3:
        raise UserError(
            f"{name} is an image {image_HWC.shape} of {image_HWC.dtype}; it must "
            "be uint8 (H, W, C) or an image of Pillow, or a tensor (C, H, W), floats in [0, 1]"
        )
    label = np.asarray(label)
    is_whole = label.dtype.kind in "biu" or (label.dtype.kind == "f" and bool((label == label.round()).all()))
    if is_whole and label.size == 1:  # some datasets return an array of one integer
        return image_HWC, label.astype(np.int64).reshape(())
    if not is_whole or label.ndim != 1 or not np.isin(label, (0, 1)).all():
        raise UserError(
            f"{name} has the label {label.tolist()}; it must be an integer, or a vector with 0 or 1 for each class"
        )
    return image_HWC, label.astype(np.int64)
