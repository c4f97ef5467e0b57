"""Your own images, in one folder per class."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from src import rng
from src.data.augment import RandomResizedCrop
from src.data.batch import ImageSet, class_counts
from src.data.datamodule import ImageDataModule, Preparation, Subset
from src.data.image_spec import ImageSpec
from src.data.split import Split
from src.data.storage.archive import folder_of
from src.data.storage.decode import MAX_PIXELS, Resize
from src.data.storage.folder_cache import CHANNELS, FILES, IDS, REPORT, FolderCache
from src.data.storage.folder_scan import layout_of_labels, list_files, read_layout
from src.data.storage.image_cache import ImageCache
from src.data.storage.progress import info
from src.errors import UserError

MAX_NAMED = 20  # files that an error names; the others are counted


class ImageFolder(ImageDataModule):
    """Images of any size and format in `data_dir/CLASS/...`, or in `data_dir/train/CLASS/...` with optional `val` and
    `test` next to `train`.

    They are decoded once, into a cache that is mapped into memory: training on a million images took 45 MB more memory
    than on ten thousand. After a change only new and changed files, by path, size and modification time, are decoded.
    """

    def __init__(
        self,
        data_dir: str,
        labels: str | None = None,
        image_size: int = 64,
        stored_size: int | None = None,
        resize: Resize = "crop",
        test_fraction: float = 0.1,
        on_bad: Literal["error", "skip"] = "error",
        white: float | None = None,
        max_pixels: int = MAX_PIXELS,
        cache_dir: str = "data/cache",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        split: Split = "hash",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            data_dir: folder that contains one folder per class, or `train` and optionally `val` and `test`, each with
                one folder per class. Nothing is written to it. A zip or tar file is unpacked into `cache_dir`.
            labels: CSV file with the columns `path` (relative to `data_dir`) and `label` (the name of the class), in
                place of one folder per class. With a column `group`, images of one group are in one subset, which
                needs the split `hash`; with `subset`, each is in `train`, `val` or `test`. Without `label`, each other
                column is a class of 0 and 1 (multi-label).
            image_size: height and width of what the network sees, in pixels.
            stored_size: height and width to which images are resized in the cache. Where it is larger, evaluation sees
                the center. Null is image_size, or 8/7 of it for a RandomResizedCrop (as 256 for 224).
            resize: `crop` scales the shorter side and crops the center, `squash` ignores the aspect ratio, `pad` scales
                the longer side and adds black.
            test_fraction: fraction of the images that becomes the test set, in [0, 1], if `data_dir` has no `train`.
                The path alone decides, so the test set stays the same when images are added. With 1 all of them are
                tested by `test`.
            on_bad: files that cannot be decoded are an `error` that names them, or left out with one line (`skip`).
                Those without the suffix of an image are ignored.
            white: the value that becomes white in images of more than 8 bits, and of floats, that do not state it;
                null measures it on the training images, and reports it.
            max_pixels: width times height above which a file is refused.
            cache_dir: folder for the decoded images, 3 * image_size^2 bytes each.
            mean: of each channel, in [0, 1]; null is that of pretrained weights, or measured on the training images.
            std: of each channel; null as for mean.
            split: how validation images are chosen if there is no `val`: by a `hash` of their paths, so that added or
                removed images move no other, `stratified` by class or `random`.
            **kwargs: see ImageDataModule.

        Raises:
            UserError: if `data_dir` has neither of the two layouts.
        """
        super().__init__(split=split, **kwargs)
        if image_size < 1:
            raise ValueError(f"image_size {image_size} must be at least 1")
        crops = [step.size for step in self.augment if isinstance(step, RandomResizedCrop)]
        if any(size > image_size for size in crops):
            raise ValueError(
                f"RandomResizedCrop has size {max(crops)}, more than data.image_size {image_size}; set both alike"
            )
        stored_size = stored_size or (round(image_size * 8 / 7) if crops else image_size)
        if stored_size < image_size:
            raise ValueError(f"stored_size {stored_size} must be at least image_size {image_size}")
        if not 0 <= test_fraction <= 1:
            raise ValueError(f"test_fraction {test_fraction} is outside [0, 1]; use 0.1 for a tenth, 0 for none")
        if split == "tail":
            raise ValueError(
                "split tail would validate on the last classes only, since files are sorted by class; use hash, "
                "stratified or random"
            )
        if white is not None and white <= 0:
            raise ValueError(f"white {white} must be above 0")
        for name, value in {"mean": mean, "std": std}.items():
            if value is not None and len(value) != CHANNELS:
                raise ValueError(f"{name} {list(value)} must have {CHANNELS} numbers, for red, green and blue")
        if std is not None and min(std) <= 0:
            raise ValueError(f"std {list(std)} must be above 0")
        self.data_dir = data_dir
        self.cache_dir = Path(cache_dir).expanduser().absolute()
        folder = folder_of(Path(data_dir).expanduser().absolute(), self.cache_dir)
        if labels:
            self.layout = layout_of_labels(folder, Path(labels).expanduser().absolute())
            if split != "hash" and any(row.group != row.path for row in self.layout.rows):
                raise ValueError(f"split {split} would separate the images of a group in {labels}; use hash")
        else:
            self.layout = read_layout(folder, least=1 if test_fraction == 1 else 2)
        self.root, self.classes = self.layout.root, self.layout.classes
        self.multi_label = self.layout.multi_label
        self.image_size = self.seen_size = image_size
        self.stored_size = stored_size
        self.resize: Resize = resize
        self.test_fraction = test_fraction
        self.labels = labels
        self.on_bad = on_bad
        self.white = {} if white is None else {"": white}
        self._model_white: dict[str, float] = {}
        self.max_pixels = max_pixels
        self._mean, self._std = mean, std

    @property
    def has_test(self) -> bool:
        return "test" in self.layout.folders or (not self.layout.is_divided and self.test_fraction > 0)

    def _folder_cache(self, white: Mapping[str, float]) -> FolderCache:
        files = list_files(self.layout, self.test_fraction)
        return FolderCache(self.root, files, self.stored_size, self.resize, self.cache_dir, white, self.max_pixels)

    @cached_property
    def _cache(self) -> ImageCache:  # opened once per process, so that a test after a fit uses the same files
        cache = self._folder_cache(self.white).open()
        measured = cache.meta["white"]
        if any(measured.get(kind, value) != value for kind, value in self._model_white.items()):
            cache = self._folder_cache({**measured, **self._model_white}).open()
        bad, num_good = cache.meta["bad"], len(cache.images.labels_N)
        if bad and self.on_bad == "error":
            lines = [f"  {path}: {reason}" for path, reason in list(bad.items())[:MAX_NAMED]]
            if len(bad) > MAX_NAMED:
                lines.append(f"  and {len(bad) - MAX_NAMED:,} more: see {cache.folder / REPORT}")
            first = f"{len(bad):,} of {len(bad) + num_good:,} files in {self.root} cannot be decoded:"
            last = "Repair or remove them, or leave them out with --data.on_bad skip"
            raise UserError("\n".join([first, *lines, last]))
        if not cache.meta["counts"]["train"] and self.test_fraction == 1:
            return cache
        counts_K = class_counts(cache.images.labels_N[: cache.meta["counts"]["train"]], len(self.layout.classes))
        if empty := [name for name, count in zip(self.layout.classes, counts_K, strict=True) if not count]:
            raise UserError(f"no training file of {', '.join(empty)} in {self.root} can be decoded")
        return cache

    def prepare_data(self) -> None:
        """Creates or updates the cache. Raises UserError if files cannot be decoded, or it cannot be written."""
        is_first = "_cache" not in vars(self)  # a test after a fit prints nothing
        if is_first and (bad := self._cache.meta["bad"]):
            path, reason = next(iter(bad.items()))
            info(f"{len(bad):,} files in {self.root} cannot be decoded and are left out, such as {path}: {reason}")
            info(f"all of them are in {self._cache.folder / REPORT}")

    def pending_preparation(self) -> Preparation | None:
        folder_cache = self._folder_cache(self.white)
        if folder_cache.find():
            return None
        count = len(folder_cache.files.paths)
        work = f"decode the new and changed ones of {count:,} images in {self.root} into {self.cache_dir}"
        return Preparation(work, self.cache_dir, folder_cache.num_bytes)

    def setup(self, stage: str) -> None:
        """Also uses `val` for validation if it exists, and there are no folds, into which it is divided, too."""
        super().setup(stage)
        meta = self._cache.meta
        self.mean, self.std = tuple(self._mean or meta["mean"]), tuple(self._std or meta["std"])
        if stage in ("fit", "validate") and "val" in self.layout.folders and not self.folds:
            indices = torch.arange(meta["counts"]["train"] + meta["counts"]["val"])
            self.train_indices, self.val_indices = indices.tensor_split([meta["counts"]["train"]])

    def split_uniforms(self) -> Tensor:
        """From the hash of the path and `split_seed`, to 53 bits."""
        cache = self._cache
        ids_N = np.load(cache.folder / IDS)[: cache.meta["counts"]["train"] + cache.meta["counts"]["val"]]
        return torch.from_numpy(rng.mixed(ids_N, self.split_seed, rng.Stream.SPLIT))

    def read(self, subset: Subset) -> ImageSet:
        """Opens the cache; in "train" the validation images come after the training images."""
        counts = self._cache.meta["counts"]
        if subset == "test" and not counts["test"]:
            way = f"Add images to {self.root}/test/CLASS" if self.layout.is_divided else "Set test_fraction above 0"
            raise UserError(
                f"{self.root} has no test set. {way}, or use the validation images with `python -m src validate`"
            )
        first_test = counts["train"] + counts["val"]
        rows = slice(first_test) if subset == "train" else slice(first_test, None)
        images_NHWC, labels_N = self._cache.images
        return ImageSet(images_NHWC[rows], labels_N[rows])

    def test_paths(self) -> list[str]:
        """Relative to the folder."""
        with (self._cache.folder / FILES).open(newline="", errors="surrogateescape") as table:
            return [row["file"] for row in csv.DictReader(table) if row["subset"] == "test"]

    @property
    def spec(self) -> ImageSpec:
        """With what becomes white in images of more than 8 bits."""
        return replace(super().spec, white=self._cache.meta["white"])

    def use_spec(self, spec: ImageSpec) -> None:
        """Also uses what becomes white, if nothing has been read yet. Raises UserError if `white` is another value."""
        if self.white and spec.white and {*self.white.values()} != {*spec.white.values()}:
            known = ", ".join(f"{value:g}{f' in {kind} images' * bool(kind)}" for kind, value in spec.white.items())
            raise UserError(
                f"data.white {self.white['']:g} belongs to the model, for which white is {known}, so it has no effect; "
                "leave it out"
            )
        super().use_spec(spec)
        self._model_white = spec.white

    def use_normalization(self, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
        """Unless `mean` or `std` is given."""
        return self._mean is self._std is None and super().use_normalization(mean, std)

    def describe(self) -> dict[str, Any]:
        """With the fingerprint of all paths, sizes and times, since reading every pixel could take longer than an
        epoch."""
        meta = self._cache.meta
        names = ("fingerprint", "counts", "size", "resize", "mean", "std")
        described = {name: meta[name] for name in names}
        return {"folder": str(self.root), "classes": list(self.classes), **described, "bad_files": len(meta["bad"])}

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return {**state, "fingerprint": self._cache.meta["fingerprint"]} if state else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warns if the files have changed since the run started."""
        super().load_state_dict(state_dict)
        saved = state_dict.get("fingerprint")
        if self._loader_state and saved not in (None, self._cache.meta["fingerprint"]):
            info(f"{self.root} has changed since this run started: from here on it is another experiment")
