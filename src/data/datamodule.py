"""What every data module of pictures has in common: the path from sample numbers to augmented batches.

Shapes: N samples, B of them in a batch, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor

from src import rng
from src.data.augment import Augmentation
from src.data.batch import Batch, ImageSet, IndexBatch
from src.data.index_loader import IndexLoader
from src.data.split import Split, check_fraction, split
from src.errors import UserError

Subset = Literal["train", "test"]


class Preparation(NamedTuple):
    """What `prepare_data` has yet to do.

    Attributes:
        work: in words that can follow "it will".
        folder: that it writes into.
        bytes: that it writes there.
    """

    work: str
    folder: Path
    bytes: int


class ImageDataModule(LightningDataModule, ABC):
    """Pictures that lie decoded in memory, and become batches on the device that trains on them.

    They are gathered, augmented and normalized a batch at a time. A data set is a subclass with `classes`, `mean`,
    `std` and `read`; what has to be fetched first goes into Lightning's `prepare_data`.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cache_writable = True  # whether `read` may keep what it has decoded; doctor's may not

    def __init__(
        self,
        batch_size: int = 128,
        val_fraction: float = 0.2,
        split: Split = "tail",
        split_seed: int = 0,
        augment: Sequence[Augmentation] = (),
        normalize: Literal["unit", "standard"] = "standard",
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        """
        Args:
            batch_size: pictures in a step, of all processes together.
            val_fraction: share of the training set that is kept for validation, in [0, 1); 0 for none.
            split: which: `tail` the last as they lie (as Keras does), `random`, or `stratified` by class.
            split_seed: of the split; apart from the run's seed, so that runs with other seeds compare.
            augment: steps applied to training pictures, in this order.
            normalize: `unit` divides by 255 as the notebooks do, `standard` also takes the data set's mean
                off each channel and divides by its deviation.
            drop_last: leave out a last training batch that is not full.
            seed: of order and augmentation; on the command line it is `--seed_everything`.

        Raises:
            ValueError: if a number is out of range.
        """
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size} must be at least 1")
        check_fraction(val_fraction)
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split: Split = split
        self.split_seed = split_seed
        self.augment = list(augment)
        self.normalize = normalize
        self.drop_last = drop_last
        self.seed = seed
        self._sets: dict[Subset, ImageSet] = {}
        self._train_loader: IndexLoader | None = None
        self._position: dict[str, Any] = {}
        # Each augmentation's numbers, and the epoch and device that they are for.
        self._drawn: tuple[tuple[int, torch.device], list[Tensor]] | None = None

    # What a data set says of itself

    @abstractmethod
    def read(self, part: Subset) -> ImageSet:
        """Decodes one part of the data set."""

    def pending_preparation(self) -> Preparation | None:
        """What `prepare_data` would do, found without doing it; none where all data are there and whole. A subclass
        that fetches or makes something says so here, and raises UserError where what lies there is broken."""
        return None

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    @property
    def has_test(self) -> bool:
        """Whether there is a test set; where there is none, a fit ends without testing."""
        return True

    def image_set(self, part: Subset) -> ImageSet:
        """A part of the data set, decoded when first asked for."""
        if part not in self._sets:
            self._sets[part] = self._checked(ImageSet(*self.read(part)))
        return self._sets[part]

    def _checked(self, pictures: ImageSet) -> ImageSet:
        """The pictures, found to be what `read` promises."""
        images_NHWC, labels_N = pictures
        if images_NHWC.dtype != torch.uint8 or images_NHWC.dim() != 4 or labels_N.shape != images_NHWC.shape[:1]:
            raise UserError(
                f"{type(self).__name__}.read gives pictures {tuple(images_NHWC.shape)} of {images_NHWC.dtype} and "
                f"labels {tuple(labels_N.shape)}; it must give uint8 pictures (N, H, W, C) and a label for each"
            )
        if len(labels_N) and not 0 <= int(labels_N.min()) <= int(labels_N.max()) < self.num_classes:
            raise UserError(
                f"{type(self).__name__}.read gives labels from {labels_N.min()} to {labels_N.max()}; with "
                f"{self.num_classes} classes they must lie between 0 and {self.num_classes - 1}"
            )
        return ImageSet(images_NHWC, labels_N.long())

    def describe(self) -> dict[str, Any]:
        """What the parts that were read hold, with a checksum, for the record of a run."""
        return {
            part: {
                "images": len(labels_N),
                "shape_HWC": list(images_NHWC.shape[1:]),
                "sha256": _sha256(images_NHWC, labels_N),
            }
            for part, (images_NHWC, labels_N) in self._sets.items()
        }

    # Lightning's hooks, in the order in which it calls them

    def setup(self, stage: str) -> None:
        """Reads and splits what the stage needs; the official test set for `test` and `predict` alone."""
        if stage in ("fit", "validate"):
            train = self.image_set("train")
            try:
                self.train_indices, self.val_indices = split(
                    train.labels_N.cpu(), self.split, self.val_fraction, self.split_seed
                )
            except ValueError as error:  # how many pictures there are comes to light only now
                raise UserError(str(error)) from error
        else:
            self.image_set("test")

    def state_dict(self) -> dict[str, Any]:
        """How far the present epoch has come. Lightning would ask the loader, but forgets to hand the answer
        back where a schedule has asked for the number of steps before."""
        return self._train_loader.state_dict() if self._train_loader else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lets the next training loader go on from there, in a fit; a test restores weights alone."""
        self._position = state_dict if self.trainer and self.trainer.state.fn == "fit" else {}

    def train_dataloader(self) -> IndexLoader:
        """Index batches of the training samples, in a new order each epoch."""
        # overfit_batches means the same few batches again and again, so the order has to stay.
        fixed = self.trainer is not None and self.trainer.overfit_batches > 0  # pyright: ignore[reportAttributeAccessIssue]
        self._train_loader = self._loader(
            self.train_indices,
            drop_last=self.drop_last,
            shuffle_seed=None if fixed else self.seed,
            epoch=lambda: self.trainer.current_epoch if self.trainer else 0,
        )
        if self._position:
            try:
                self._train_loader.load_state_dict(self._position)
            except ValueError as error:
                raise UserError(str(error)) from error
            self._position = {}
        return self._train_loader

    def val_dataloader(self) -> IndexLoader | list[IndexLoader]:
        """Index batches of the validation samples; none where there is no validation."""
        return self._loader(self.val_indices) if len(self.val_indices) else []

    def test_dataloader(self) -> IndexLoader:
        """Index batches of the official test set."""
        return self._loader(torch.arange(len(self._sets["test"].labels_N)))

    def predict_dataloader(self) -> IndexLoader:
        """Index batches of the official test set."""
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: IndexBatch, device: torch.device, dataloader_idx: int) -> Batch:
        """Gathers the pictures. If it fits into half of what is free, the whole set moves to a GPU with its first
        batch and stays there, so that later only sample numbers travel."""
        part: Subset = "test" if self.trainer and (self.trainer.testing or self.trainer.predicting) else "train"
        pictures = self._sets[part]
        if pictures.images_NHWC.device != device and _fits(pictures.images_NHWC, device):
            pictures = self._sets[part] = pictures.to(device)
        if pictures.images_NHWC.device != device:
            indices_B = batch.indices_B
            images_BCHW = pictures.images_NHWC.index_select(0, indices_B).permute(0, 3, 1, 2).to(device)
            labels_B = pictures.labels_N.index_select(0, indices_B).to(device)
            return Batch(images_BCHW, labels_B, indices_B.to(device), batch.size)
        indices_B = batch.indices_B.to(device, non_blocking=True)
        # Gathered as (B, H, W, C) and only viewed as (B, C, H, W): that is channels last.
        # index_select takes 9 us for 128 pictures, indexing by brackets 228 us.
        images_BCHW = pictures.images_NHWC.index_select(0, indices_B).permute(0, 3, 1, 2)
        return Batch(images_BCHW, pictures.labels_N.index_select(0, indices_B), indices_B, batch.size)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments training pictures and normalizes all."""
        images_BCHW = batch.images_BCHW.float().div_(255)
        if self.trainer and self.trainer.training:
            images_BCHW = self.augmented(images_BCHW, batch.indices_B, self.trainer.current_epoch)
            images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)  # resampling forgets it
        return batch._replace(images_BCHW=self.normalized(images_BCHW))

    # Pure parts of these, also for looking at pictures

    def augmented(self, images_BCHW: Tensor, indices_B: Tensor, epoch: int) -> Tensor:
        """Pictures in [0, 1] as they are augmented in an epoch, whatever batch they are in."""
        indices_B = indices_B.to(images_BCHW.device)
        for step, uniform_NK in zip(self.augment, self._draw(epoch, images_BCHW.device), strict=True):
            images_BCHW = step(images_BCHW, uniform_NK.index_select(0, indices_B), epoch)
        return images_BCHW

    def normalized(self, images_BCHW: Tensor) -> Tensor:
        """Pictures in [0, 1] as the network gets them."""
        if self.normalize == "unit":
            return images_BCHW
        mean_C11 = images_BCHW.new_tensor(self.mean).view(-1, 1, 1)
        std_C11 = images_BCHW.new_tensor(self.std).view(-1, 1, 1)
        return (images_BCHW - mean_C11) / std_C11

    def _draw(self, epoch: int, device: torch.device) -> list[Tensor]:
        """The random numbers of an epoch for all samples of the training set, drawn when it begins."""
        if self._drawn is None or self._drawn[0] != (epoch, device):
            n = len(self._sets["train"].labels_N)
            tables = [
                rng.uniforms(
                    n,
                    step.num_uniforms,
                    self.seed,
                    rng.Stream.AUGMENT,
                    number,
                    epoch if step.resample_each_epoch else 0,
                ).to(device)
                for number, step in enumerate(self.augment)
            ]
            self._drawn = ((epoch, device), tables)
        return self._drawn[1]

    def _loader(self, indices_N: Tensor, **kwargs) -> IndexLoader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        try:
            return IndexLoader(indices_N, self.batch_size, rank=rank, world_size=world_size, **kwargs)
        except ValueError as error:  # how many processes there are comes to light only now
            raise UserError(str(error)) from error


def _fits(images_NHWC: Tensor, device: torch.device) -> bool:
    return device.type != "cuda" or 2 * images_NHWC.nbytes < torch.cuda.mem_get_info(device)[0]


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()
