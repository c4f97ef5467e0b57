"""Pictures of your own: one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from src.data.batch import ImageSet
from src.data.datamodule import ImageDataModule, Preparation, Subset
from src.data.split import Split
from src.data.storage.cache import CHANNELS, Cache, Recipe, found, opened
from src.data.storage.decode import Resize
from src.data.storage.folder_scan import Listing, layout, listing
from src.data.storage.progress import say
from src.errors import UserError

NAMED = 20  # files that an error names; the rest it counts


class ImageFolder(ImageDataModule):
    """Pictures of any size and format in `data_dir/CLASS/...`, or in `data_dir/train/CLASS/...` with `val` and
    `test` beside `train`.

    They are decoded once, into a cache that is mapped into memory and not read into it: training on a million took
    45 MB of memory more than on ten thousand. A file is new or changed by its path, size and time of change; what
    has not changed is not decoded again.
    """

    def __init__(
        self,
        data_dir: str,
        image_size: int = 64,
        resize: Resize = "crop",
        test_fraction: float = 0.1,
        on_bad: Literal["error", "skip"] = "error",
        cache_dir: str = "data/cache",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        split: Split = "stratified",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            data_dir: a folder with a folder for each class, or with `train`, and if you have them `val` and
                `test`, which each hold the same classes. Not written to.
            image_size: height and width that pictures are brought to, in pixels.
            resize: `crop` makes the shorter side fit and cuts the longer one about its middle, `squash` changes
                the proportions, `pad` makes the longer side fit and adds black.
            test_fraction: share of the pictures that becomes the test set, in [0, 1), where `data_dir` has no
                `train`. A picture belongs to it or not by its name alone, also when others are added.
            on_bad: whether files that give no picture are an `error` that names them, or one line (`skip`).
            cache_dir: where decoded pictures are kept: 3 * image_size^2 bytes each.
            mean: of each channel, in [0, 1]; none measures it on the training pictures.
            std: likewise, the deviation.
            split: how validation is cut off where there is no `val`: `stratified` by class or `random`. (`tail`
                would be the last classes alone.)
            **kwargs: see ImageDataModule.

        Raises:
            ValueError: if a number is out of range.
            UserError: if `data_dir` is not laid out in one of the two ways.
        """
        super().__init__(split=split, **kwargs)
        if image_size < 1:
            raise ValueError(f"image_size {image_size} must be at least 1")
        if not 0 <= test_fraction < 1:
            raise ValueError(f"test_fraction {test_fraction} is outside [0, 1); use 0.1 for a tenth, 0 for none")
        if split == "tail":
            raise ValueError(
                "split tail would validate on the last classes alone, as files are in the order of their names; "
                "use stratified or random"
            )
        for name, value in {"mean": mean, "std": std}.items():
            if value is not None and len(value) != CHANNELS:
                raise ValueError(f"{name} {list(value)} must have {CHANNELS} numbers, of red, green and blue")
        if std is not None and min(std) <= 0:
            raise ValueError(f"std {list(std)} must be above 0")
        self.data_dir = data_dir
        self.root = Path(data_dir).expanduser().absolute()
        self.layout = layout(self.root)
        self.classes = self.layout.classes
        self.image_size = image_size
        self.resize: Resize = resize
        self.test_fraction = test_fraction
        self.on_bad = on_bad
        self.cache_dir = Path(cache_dir).expanduser().absolute()
        self._given = {"mean": mean, "std": std}

    @property
    def has_test(self) -> bool:
        """Whether there is a `test`, or one is cut off."""
        return "test" in self.layout.folders or (self._undivided and self.test_fraction > 0)

    @property
    def _undivided(self) -> bool:
        return self.layout.folders["train"] == self.root

    @property
    def _recipe(self) -> Recipe:
        return Recipe(self.root, self.image_size, self.resize)

    def _files(self) -> Listing:
        return listing(self.root, self.layout, self.test_fraction)

    @cached_property
    def _cache(self) -> Cache:
        # Once a process: a test after a fit sees the files that the fit saw.
        files = self._files()
        cache = opened(self._recipe, files, self.cache_dir)
        bad = cache.meta["bad"]
        if bad and self.on_bad == "error":
            lines = [f"\n  {path}: {reason}" for path, reason in list(bad.items())[:NAMED]]
            more = f"\n  and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
            raise UserError(
                f"{len(bad):,} of {len(files.paths):,} files in {self.root} give no picture:{''.join(lines)}{more}\n"
                "Mend or remove them, or leave them out by --data.on_bad skip"
            )
        train_N = cache.labels_N[: cache.meta["counts"]["train"]]
        if lost := [self.classes[k] for k in range(self.num_classes) if not (train_N == k).any()]:
            raise UserError(f"no file for training in {', '.join(lost)} of {self.root} gives a picture")
        return cache

    def prepare_data(self) -> None:
        """Makes or renews the cache; on one process of a machine, while the others wait.

        Raises:
            UserError: if files give no picture, or the cache cannot be written.
        """
        known = "_cache" in vars(self)  # a test after a fit need not say it again
        if (bad := self._cache.meta["bad"]) and not known:
            first = next(iter(bad.items()))
            say(f"{len(bad):,} files in {self.root} give no picture and are left out, as {first[0]}: {first[1]}")

    def pending_preparation(self) -> Preparation | None:
        """Whether the cache has to be made or renewed.

        Raises:
            UserError: if it is there, and names files that give no picture.
        """
        files = self._files()
        if found(self._recipe, files, self.cache_dir):
            assert self._cache
            return None
        work = f"decode what is new or changed of {len(files.paths):,} pictures in {self.root}, into {self.cache_dir}"
        return Preparation(work, self.cache_dir, self._recipe.bytes_of(files))

    def setup(self, stage: str) -> None:
        """Splits by folders where there are folders for it."""
        super().setup(stage)
        meta = self._cache.meta
        self.mean = tuple(self._given["mean"] or meta["mean"])
        self.std = tuple(self._given["std"] or meta["std"])
        if stage in ("fit", "validate") and "val" in self.layout.folders:
            counts = meta["counts"]
            both_N = torch.arange(counts["train"] + counts["val"])
            self.train_indices, self.val_indices = both_N[: counts["train"]], both_N[counts["train"] :]

    def read(self, part: Subset) -> ImageSet:
        """Maps one part; that of training holds validation's pictures too, behind its own.

        Raises:
            UserError: if there is no test set.
        """
        images_NHWC, labels_N = self._cache.images_NHWC, self._cache.labels_N
        counts = self._cache.meta["counts"]
        train = counts["train"] + counts["val"]
        if part == "train":
            return ImageSet(images_NHWC[:train], labels_N[:train])
        if not counts["test"]:
            way = "Let test_fraction cut one off" if self._undivided else f"Put one into {self.root}/test/CLASS"
            raise UserError(
                f"{self.root} has no test set. {way}, or measure on validation pictures by `python -m src validate`"
            )
        return ImageSet(images_NHWC[train:], labels_N[train:])

    def describe(self) -> dict[str, Any]:
        """What was found, by the fingerprint of all names, sizes and times; reading every pixel would take
        longer than many an epoch."""
        meta = self._cache.meta
        names = ("fingerprint", "counts", "size", "resize", "mean", "std")
        return {"folder": str(self.root), **{name: meta[name] for name in names}, "bad_files": len(meta["bad"])}

    def state_dict(self) -> dict[str, Any]:
        """Also which files these are."""
        state = super().state_dict()
        return {**state, "fingerprint": self._cache.meta["fingerprint"]} if state else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Says so where a run goes on with other files than it began with."""
        super().load_state_dict(state_dict)
        before = state_dict.get("fingerprint")
        if self._position and before not in (None, self._cache.meta["fingerprint"]):
            say(f"{self.root} has changed since this run began: what follows is no longer the same experiment")
