"""The base class of the datasets: from sample indices to augmented batches.

Shapes: N samples, B of them in a batch, C channels, H rows, W columns, K classes.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor

from src import rng
from src.data.augment import Augmentation, Mix
from src.data.batch import Batch, ImageSet, IndexBatch, class_counts
from src.data.image_spec import ImageSpec, center, constant_C11, normalize
from src.data.index_loader import IndexLoader
from src.data.split import Split, fold_of, split
from src.data.storage.decode import Resize
from src.errors import UserError, shortened

Subset = Literal["train", "test"]

# Devices to which only a copy from pinned memory does not wait for the steps before it.
_FROM_PINNED_MEMORY = ("cuda", "xpu")


class Preparation(NamedTuple):
    """What `prepare_data` still has to do."""

    work: str  # follows "fit will first"
    folder: Path  # where it writes
    bytes: int  # how much


class ImageDataModule(LightningDataModule, ABC):
    """Images that lie decoded in memory and are gathered, augmented and normalized as batches on the training device.

    A dataset of your own is a subclass with three attributes and one method::

        class Flowers(ImageDataModule):
            classes = ("daisy", "tulip")
            mean, std = (0.48, 0.46, 0.41), (0.25, 0.24, 0.26)

            def read(self, subset):  # "train" or "test"
                arrays = np.load(f"data/flowers_{subset}.npz")
                images_NHWC, labels_N = arrays["images"], arrays["labels"]  # uint8, int64
                return ImageSet(torch.from_numpy(images_NHWC), torch.from_numpy(labels_N))

    It may override Lightning's `prepare_data` for a download, and the three members below `read`.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = "crop"  # how an image of another size becomes one of this dataset
    provenance: tuple[str, ...] = ()  # where the images come from, and their known limits; one sentence each
    multi_label = False  # whether an image can have several classes: `read` then returns labels (N, K) of 0 and 1
    seen_size: int | None = None  # height and width of what the network sees of larger images: the center, or a crop
    cache_writable = True  # `doctor` sets it to False: `read` then writes no cache

    def __init__(
        self,
        batch_size: int = 128,
        val_fraction: float = 0.2,
        split: Split = "tail",
        split_seed: int = 0,
        folds: int | None = None,
        fold: int = 0,
        augment: Sequence[Augmentation] = (),
        mix: Mix | None = None,
        normalize: Literal["unit", "standard"] = "standard",
        drop_last: bool = False,
        balanced: bool = False,
        seed: int = 0,
    ) -> None:
        """
        Args:
            batch_size: images per step over all processes.
            val_fraction: fraction of the training set used for validation, in [0, 1); 0 for none.
            split: which samples validate: the last ones (`tail`, as in Keras), `random`, `stratified` by class, or by
                a `hash` of each, so that added samples move no other.
            split_seed: seed of the split; not `seed`.
            folds: in place of `val_fraction` and `split`, the number of stratified folds.
            fold: the one that validates.
            augment: augmentations of the training images, applied in this order.
            mix: mixes each augmented image with another of its batch, as `Mixup` does.
            normalize: `unit` divides by 255 as the notebooks do, `standard` also subtracts the dataset's mean from
                each channel and divides by its std.
            drop_last: drop a last training batch that is incomplete.
            balanced: in each epoch, train on equally many images of each class: of a large class some, of a small one
                all, repeatedly and with other augmentation each time.
            seed: of order and augmentation; on the command line it is `--seed_everything`.
        """
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size} must be at least 1")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction {val_fraction} is outside [0, 1); use 0.2 for a fifth, 0 for no validation")
        if folds is not None and folds < 2:
            raise ValueError(f"folds {folds} must be at least 2, or null for one split by val_fraction")
        if not 0 <= fold < (folds or 1):
            raise ValueError(f"fold {fold} is outside [0, {folds or 1}), the range for folds {folds}")
        self.batch_size = batch_size
        self.val_fraction = val_fraction
        self.split: Split = split
        self.split_seed = split_seed
        self.folds = folds
        self.fold = fold
        self.augment = list(augment)
        self.mix = mix
        self.normalize = normalize
        self.drop_last = drop_last
        self.balanced = balanced
        self.seed = seed
        self._sets: dict[Subset, ImageSet] = {}
        self._positions_K: Tensor | None = None  # of the classes of `read` among those of a model, if they differ
        self._train_loader: IndexLoader | None = None
        self._loader_state: dict[str, Any] = {}
        # The random numbers of each augmentation, and the epoch and device for which they are.
        self._uniforms: tuple[tuple[int, torch.device], list[Tensor]] | None = None

    # What a dataset defines

    @abstractmethod
    def read(self, subset: Subset) -> ImageSet:
        """Returns the decoded images and labels of a subset."""

    @property
    def has_test(self) -> bool:
        """Whether there is a test set; without one `fit` does not test at its end."""
        return True

    def pending_preparation(self) -> Preparation | None:
        """What `prepare_data` would do, for `doctor`; None if all data exist. Raises UserError if they are damaged."""
        return None

    def describe(self) -> dict[str, Any]:
        """Size and checksum of the subsets read so far, for the manifest of a run."""
        return {
            subset: {"images": len(images[1]), "shape_HWC": list(images[0].shape[1:]), "sha256": images.sha256()}
            for subset, images in self._sets.items()
        }

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.classes)

    def image_set(self, subset: Subset) -> ImageSet:
        """A subset, read at the first call. Raises UserError if `read` does not return what it should."""
        if subset not in self._sets:
            images_NHWC, labels_N = map(torch.as_tensor, self.read(subset))  # of NumPy, or a list of labels
            name = type(self).__name__
            if isinstance(self.classes, str) or len(set(self._class_names)) < self.num_classes:
                raise UserError(
                    f"{name}.classes is {self.classes!r}; it must be a tuple with a name of its own for each"
                )
            positions_K = torch.arange(self.num_classes) if self._positions_K is None else self._positions_K
            shape = (*images_NHWC.shape[:1], *((len(positions_K),) if self.multi_label else ()))
            if images_NHWC.dtype != torch.uint8 or images_NHWC.dim() != 4 or labels_N.shape != shape:
                each = f"{len(positions_K)} labels" if self.multi_label else "one label"
                raise UserError(
                    f"{name}.read returns images {tuple(images_NHWC.shape)} of {images_NHWC.dtype} and labels "
                    f"{tuple(labels_N.shape)}; it must return uint8 images (N, H, W, C) and {each} for each"
                )
            if labels_N.is_floating_point() and not bool((labels_N == labels_N.round()).all()):
                raise UserError(
                    f"{name}.read returns labels that are not whole numbers, such as {float(labels_N.max()):.3g}"
                )
            number = 2 if self.multi_label else self.num_classes
            if len(labels_N) and not 0 <= int(labels_N.min()) <= int(labels_N.max()) < number:
                raise UserError(
                    f"{name}.read returns labels from {labels_N.min()} to {labels_N.max()}; with {self.num_classes} "
                    f"classes they must be between 0 and {number - 1}"
                )
            labels_N = labels_N.long()
            if self._positions_K is not None:
                labels_N = _repositioned(labels_N, self._positions_K, self.num_classes)
            self._sets[subset] = ImageSet(images_NHWC, labels_N)
        return self._sets[subset]

    @property
    def spec(self) -> ImageSpec:
        """What a network that is trained on these images has to know of them. Only after `setup`."""
        height, width, channels = next(iter(self._sets.values())).images_NHWC.shape[1:]
        seen = (self.seen_size, self.seen_size) if self.seen_size else (height, width)
        as_is = self.normalize == "unit"
        mean, std = ((0.0,) * channels, (1.0,) * channels) if as_is else (self.mean, self.std)
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
        return ImageSpec(
            self._class_names, mean, std, seen, channels, self.resize, (height, width), multi_label=self.multi_label
        )

    @property
    def _class_names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes))

    def use_spec(self, spec: ImageSpec) -> None:
        """Uses the classes and the normalization of a model: labels are those of the classes with the same name.

        Raises:
            UserError: if there are other classes, or other channels, or several classes for each image in one of both.
        """
        if self.multi_label != spec.multi_label:
            of = {False: "one class", True: "any number of classes"}
            raise UserError(
                f"the data have {of[self.multi_label]} for each image; the model was trained on {of[spec.multi_label]}"
            )
        own = self._class_names
        if unknown := [name for name in own if name not in spec.classes]:
            raise UserError(
                f"the data have the classes {shortened(unknown)}, which the model does not have; it was trained on "
                f"{shortened(spec.classes)}. Give data with these classes, or train a new model"
            )
        if any(images.images_NHWC.shape[-1] != spec.channels for images in self._sets.values()):
            raise UserError(f"the data have {self.spec.channels} channels; the model was trained on {spec.channels}")
        if own != spec.classes:
            positions_K = torch.tensor([spec.classes.index(name) for name in own])
            for subset, (images_NHWC, labels_N) in self._sets.items():
                self._sets[subset] = ImageSet(images_NHWC, _repositioned(labels_N, positions_K, len(spec.classes)))
            self._positions_K = positions_K if self._positions_K is None else positions_K[self._positions_K]
            self.classes = spec.classes
        self.mean, self.std = spec.mean, spec.std
        self.normalize = "standard" if any(spec.mean) or set(spec.std) != {1.0} else "unit"

    def use_normalization(self, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
        """Uses the normalization of pretrained weights, unless it is configured otherwise or is of other channels;
        returns whether it does."""
        if self.normalize == "unit" or len(mean) != self.spec.channels:
            return False
        self.mean, self.std = mean, std
        return True

    def split_uniforms(self) -> Tensor | None:
        """For the split `hash`, a random number in [0, 1) for each training sample; None takes its index."""
        return None

    def test_paths(self) -> list[str] | None:
        """The file of each test sample, for predictions.csv; None if they are not files."""
        return None

    def example_images(self, batch_size: int, subset: Subset = "train") -> Tensor:
        """Black images (B, C, H, W) of a subset's size, to run a network once."""
        height, width, channels = self.image_set(subset).images_NHWC.shape[1:]
        return self.center(torch.zeros(batch_size, channels, height, width))

    def example_training_images(self, batch_size: int) -> Tensor:
        """The same of the size that training images have after their augmentation, which can crop them."""
        height, width, channels = self.image_set("train").images_NHWC.shape[1:]
        images_BCHW = torch.zeros(batch_size, channels, height, width)
        for step in self.augment:
            images_BCHW = step(images_BCHW, torch.zeros(batch_size, step.num_uniforms), 0)
        return self.center(images_BCHW)

    # Lightning's hooks, in the order in which it calls them

    def setup(self, stage: str) -> None:
        """Reads the training set for `fit` and `validate`, the test set only for `test` and `predict`."""
        if stage in ("fit", "validate"):
            if self.multi_label and self.balanced:
                raise UserError("data.balanced is for one class per image; with several, use model.class_weights")
            labels_N, uniform_N = self._strata_N, self.split_uniforms()
            if self.folds:
                validates_N = fold_of(labels_N, self.folds, self.split_seed, uniform_N) == self.fold
                self.train_indices, self.val_indices = (~validates_N).nonzero()[:, 0], validates_N.nonzero()[:, 0]
            else:
                self.train_indices, self.val_indices = split(
                    labels_N, self.split, self.val_fraction, self.split_seed, uniform_N
                )
        else:
            self.image_set("test")

    @property
    def _strata_N(self) -> Tensor:
        """The classes by which the training set is split; of images with several, each combination that occurs."""
        labels_N = self.image_set("train").labels_N.cpu()
        if not self.multi_label:
            return labels_N
        if self.folds or self.split == "stratified":
            return labels_N.unique(dim=0, return_inverse=True)[1]
        return labels_N.new_zeros(len(labels_N))

    @property
    def _train_labels_N(self) -> Tensor:
        return self.image_set("train").labels_N.cpu()[self.train_indices]

    def class_counts(self) -> Tensor:
        """The number of training images of each class, int64 (K,)."""
        return class_counts(self._train_labels_N, self.num_classes)

    def state_dict(self) -> dict[str, Any]:
        # The loader's state. Lightning also saves it, but does not restore it if a learning rate schedule has asked
        # for the number of steps.
        return self._train_loader.state_dict() if self._train_loader else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Testing a checkpoint restores the weights only.
        self._loader_state = state_dict if self.trainer and self.trainer.state.fn == "fit" else {}

    def train_dataloader(self) -> IndexLoader:
        # overfit_batches trains on the same batches in each epoch, so they are not shuffled.
        fixed = self.trainer is not None and self.trainer.overfit_batches > 0  # pyright: ignore[reportAttributeAccessIssue]
        self._train_loader = self._loader(
            self.train_indices,
            drop_last=self.drop_last,
            shuffle_seed=None if fixed else self.seed,
            balanced_labels_N=self._train_labels_N if self.balanced else None,
            epoch=lambda: self.trainer.current_epoch if self.trainer else 0,
            limit=lambda: self.trainer.num_training_batches if self.trainer else math.inf,
        )
        if not len(self._train_loader):
            raise UserError(
                f"data.batch_size {self.batch_size} is larger than the {len(self.train_indices)} training images, and "
                "data.drop_last drops their only batch; lower batch_size, or set drop_last to false"
            )
        if self._loader_state:
            self._train_loader.load_state_dict(self._loader_state)
            self._loader_state = {}
        return self._train_loader

    def val_dataloader(self) -> IndexLoader | list[IndexLoader]:
        return self._loader(self.val_indices) if len(self.val_indices) else []

    def test_dataloader(self) -> IndexLoader:
        return self._loader(torch.arange(len(self._sets["test"].labels_N)))

    def predict_dataloader(self) -> IndexLoader:
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: IndexBatch, device: torch.device, dataloader_idx: int) -> Batch:
        """Gathers the images. If the dataset needs less than half of the free memory of a GPU, it moves there with the
        first batch, and from then on only indices are transferred; nothing here waits for the GPU."""
        subset: Subset = "test" if self.trainer and (self.trainer.testing or self.trainer.predicting) else "train"
        images = self._sets[subset]
        if images.images_NHWC.device != device and _fits(images.images_NHWC, device):
            images = self._sets[subset] = images.to(device)
        wanted_B, numbers_B = batch.indices_B, None
        if self._partners_of_other_ranks:
            assert batch.partners_B is not None
            wanted_B = torch.cat([wanted_B, batch.partners_B])
        if batch.repeats:
            repeats_B = torch.cat(batch.repeats) if self._partners_of_other_ranks else batch.repeats[0]
            # The numbers of another sample, 7919 (a prime) further.
            numbers_B = _on_device((wanted_B + 7919 * repeats_B) % len(images.labels_N), device)
        indices_B = _on_device(wanted_B, device)
        gathered_B = indices_B if images.images_NHWC.device == device else wanted_B
        # Gathered as (B, H, W, C) and viewed as (B, C, H, W), which is channels-last. For 128 images index_select
        # takes 9 us, indexing with [] 228 us.
        images_BHWC, labels_B = (_on_device(values_N.index_select(0, gathered_B), device) for values_N in images)
        return Batch(images_BHWC.permute(0, 3, 1, 2), labels_B, indices_B, batch.size, rows_B=numbers_B)

    @property
    def _partners_of_other_ranks(self) -> bool:
        """Whether images are mixed with others that this rank has to gather in addition."""
        return (
            self.mix is not None and self.trainer is not None and self.trainer.training and self.trainer.world_size > 1
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments training images and normalizes all images."""
        images_BCHW = batch.images_BCHW.float().div_(255)
        if self.trainer and self.trainer.training:
            epoch = self.trainer.current_epoch
            rows_B = batch.indices_B if batch.rows_B is None else batch.rows_B
            images_BCHW = self.augment_images(images_BCHW, rows_B, epoch)
            if self.mix:
                images_BCHW, batch = self._mixed(self.mix, images_BCHW, batch, epoch)
            images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)  # grid_sample returns NCHW
        return batch._replace(images_BCHW=self.normalize_images(images_BCHW))

    def center(self, images_BCHW: Tensor) -> Tensor:
        """What a network sees of images that are larger, and not cropped by an augmentation."""
        size = self.seen_size
        return images_BCHW if size is None else center(images_BCHW, (size, size))

    def _mixed(self, mix: Mix, images_BCHW: Tensor, batch: Batch, epoch: int) -> tuple[Tensor, Batch]:
        if self._partners_of_other_ranks:
            (images_BCHW, partners_BCHW), (labels_B, partner_labels_B), (indices_B, _) = (
                values.tensor_split(2) for values in (images_BCHW, batch.labels_B, batch.indices_B)
            )
        else:
            labels_B, indices_B = batch.labels_B, batch.indices_B
            partners_BCHW, partner_labels_B = images_BCHW.flip(0), labels_B.flip(0)
        rows_B = indices_B if batch.rows_B is None else batch.rows_B[: len(indices_B)]
        uniform_BK = self._uniforms_of(images_BCHW.device, epoch)[-1].index_select(0, rows_B)
        images_BCHW, weights_B = mix(images_BCHW, partners_BCHW, uniform_BK)
        return images_BCHW, Batch(images_BCHW, labels_B, indices_B, batch.size, partner_labels_B, weights_B)

    def augment_images(self, images_BCHW: Tensor, indices_B: Tensor, epoch: int) -> Tensor:
        """Augments training images in [0, 1]; the result for a sample depends on seed, epoch and its index only."""
        indices_B = indices_B.to(images_BCHW.device)
        tables = self._uniforms_of(images_BCHW.device, epoch)
        for step, uniform_NK in zip(self.augment, tables, strict=False):  # the last may be that of `mix`
            images_BCHW = step(images_BCHW, uniform_NK.index_select(0, indices_B), epoch)
        return images_BCHW

    def _uniforms_of(self, device: torch.device, epoch: int) -> list[Tensor]:
        """The random numbers of all samples for each augmentation and `mix`, sampled once in each epoch."""
        if self._uniforms is None or self._uniforms[0] != (epoch, device):
            n = len(self._sets["train"].labels_N)
            tables = []
            steps: list[Augmentation | Mix] = [*self.augment, *([self.mix] if self.mix else [])]
            for number, step in enumerate(steps):
                counters = (rng.Stream.AUGMENT, number, epoch if step.resample_each_epoch else 0)
                tables.append(rng.uniforms(n, step.num_uniforms, self.seed, *counters).to(device))
            self._uniforms = (epoch, device), tables
        return self._uniforms[1]

    def normalize_images(self, images_BCHW: Tensor) -> Tensor:
        """What a network gets of images in [0, 1]: their center, normalized."""
        images_BCHW = self.center(images_BCHW)
        if self.normalize == "unit":
            return images_BCHW
        mean_C11, std_C11 = (constant_C11(tuple(one), images_BCHW.device) for one in (self.mean, self.std))
        return normalize(images_BCHW, mean_C11, std_C11)

    def _loader(self, indices_N: Tensor, **kwargs: Any) -> IndexLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return IndexLoader(indices_N, self.batch_size, rank=rank, world_size=world_size, **kwargs)


def _repositioned(labels_N: Tensor, positions_K: Tensor, num_classes: int) -> Tensor:
    """Labels by the positions of their classes among those of a model."""
    positions_K = positions_K.to(labels_N.device)
    if labels_N.dim() == 1:
        return positions_K[labels_N]
    return labels_N.new_zeros(len(labels_N), num_classes).index_copy_(1, positions_K, labels_N)


def _fits(images_NHWC: Tensor, device: torch.device) -> bool:
    """Whether the images need less than half of the free memory of a device."""
    free = math.inf
    if device.type in _FROM_PINNED_MEMORY:
        free = torch.accelerator.get_memory_info(device)[0]
    elif device.type == "mps":  # the memory of the CPU
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return 2 * images_NHWC.nbytes < free


def _on_device(tensor: Tensor, device: torch.device) -> Tensor:
    pinned = tensor.device.type == "cpu" and device.type in _FROM_PINNED_MEMORY
    return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)
