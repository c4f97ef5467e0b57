"""Images of a test, selected by how they were classified, and why.

Shapes: N samples, B of them shown, H rows, W columns, C channels, K classes.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from src.callbacks.class_names import class_names, names_of
from src.callbacks.display_only import display_only
from src.callbacks.image_grid import image_grid
from src.callbacks.log_image import image_loggers, log_image, log_missing
from src.callbacks.sharded_network import IS_SHARDED, is_sharded
from src.callbacks.test_samples import TestSamples, TestSamplesCallback
from src.data import ImageDataModule
from src.models.class_activation import class_activation_maps

_MAPS = "view_test/mistakes_why"
MAX_LETTERS = 11  # of the name of a class in a caption


class _ShownSamples(TestSamplesCallback):
    """Shows a few images of a test set, if it is an ImageDataModule's."""

    def __init__(self, num_images: int) -> None:
        if num_images < 1:
            raise ValueError(f"num_images {num_images} must be at least 1")
        self.num_images = num_images

    def on_test_samples(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(data, ImageDataModule) and image_loggers(trainer):
            with display_only(f"the image of {type(self).__name__}"):
                self.show(trainer, pl_module, samples, data)

    @abstractmethod
    def show(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples, data: ImageDataModule) -> None:
        """Logs the image."""


class ConfidentMistakes(_ShownSamples):
    """Shows, after a test, the misclassified images with the largest probability of the predicted class. Where an image
    can have several classes, it is misclassified if one of them is."""

    def __init__(self, num_images: int = 12) -> None:
        """
        Args:
            num_images: how many.

        Raises:
            ValueError: if the number is out of range.
        """
        super().__init__(num_images)

    def show(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples, data: ImageDataModule) -> None:
        rows_B = confident_mistakes(samples, self.num_images)
        title = "Most confident mistakes" if len(rows_B) else "No mistakes; the most confident images"
        if not len(rows_B):
            rows_B = samples.losses_N.argsort()[: self.num_images]
        names = class_names(trainer, samples.logits_NK.shape[1])
        figure = image_grid(images_of(data, samples, rows_B), captions(samples, rows_B, names), columns=4, title=title)
        log_image(trainer, "view_test/mistakes", figure)


class LossExtremes(_ShownSamples):
    """Shows, after a test, the images with the highest and those with the lowest loss."""

    def __init__(self, num_images: int = 8) -> None:
        """
        Args:
            num_images: how many of each.

        Raises:
            ValueError: if the number is out of range.
        """
        super().__init__(num_images)

    def show(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples, data: ImageDataModule) -> None:
        order_N, names = samples.losses_N.argsort(descending=True), class_names(trainer, samples.logits_NK.shape[1])
        for which, rows_B in (("highest", order_N), ("lowest", order_N.flip(0))):
            rows_B = rows_B[: self.num_images]
            shown = image_grid(
                images_of(data, samples, rows_B), captions(samples, rows_B, names), 4, f"The {which} loss"
            )
            log_image(trainer, f"view_test/{which}_loss", shown)


class MistakeMaps(_ShownSamples):
    """Shows, after a test, what in the most confident mistakes speaks for the predicted and for the true class, or for
    the most confidently misclassified one of several, by Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391). Says so
    where the network has no feature map of channels, rows and columns."""

    def __init__(self, num_images: int = 6) -> None:
        """
        Args:
            num_images: how many mistakes, one per row.

        Raises:
            ValueError: if the number is out of range.
        """
        super().__init__(num_images)

    def show(self, trainer: Trainer, pl_module: LightningModule, samples: TestSamples, data: ImageDataModule) -> None:
        rows_B = confident_mistakes(samples, self.num_images)
        net = getattr(pl_module, "net", None)
        if not len(rows_B) or not isinstance(net, torch.nn.Module):
            return log_missing(trainer, _MAPS, "No mistakes, of which there could be class-activation maps")
        if is_sharded(trainer, net):
            return log_missing(trainer, _MAPS, f"No class-activation maps: {IS_SHARDED}")
        images_BHWC = images_of(data, samples, rows_B)
        if samples.multi_label:
            classes_BM = mistaken_classes(samples, rows_B)[:, None]
            is_true_BM = samples.labels_N[rows_B].gather(1, classes_BM)
        else:
            classes_BM = torch.stack([samples.predicted_N[rows_B], samples.labels_N[rows_B]], 1)
            is_true_BM = torch.tensor([[0, 1]]).expand_as(classes_BM)
        shown = classes_BM.shape[1]
        maps_BHW = activation_maps(net, data, images_BHWC.repeat_interleave(shown, 0), classes_BM.flatten())
        if maps_BHW is None:
            return log_missing(trainer, _MAPS, "No class-activation maps: the network has no feature map of pixels")
        names = class_names(trainer, samples.logits_NK.shape[1])
        # In a row the image as it is, then with the maps of the predicted and of the true class, or of one of several.
        maps_BMHW = torch.cat([torch.zeros_like(maps_BHW[::shown, None]), maps_BHW.unflatten(0, (-1, shown))], 1)
        texts = [
            text
            for classes, is_true in zip(classes_BM.tolist(), is_true_BM.tolist(), strict=True)
            for text in (
                "the image",
                *(f"why {_short(names[k])}{' (true)' * true}" for k, true in zip(classes, is_true, strict=True)),
            )
        ]
        images_BMHWC = images_BHWC.repeat_interleave(shown + 1, 0)
        figure = image_grid(images_BMHWC, texts, shown + 1, "What speaks for a class", maps_BMHW.flatten(0, 1))
        log_image(trainer, _MAPS, figure)


def confident_mistakes(samples: TestSamples, count: int) -> Tensor:
    """Which rows of the samples are misclassified with the largest probabilities, int64 (B,)."""
    if samples.multi_label:
        confidence_N = _confidence_of_mistakes(samples).amax(1)
        return confidence_N.argsort(descending=True, stable=True)[: min(count, int((confidence_N > 0).sum()))]
    confidence_N, predicted_N = samples.logits_NK.softmax(-1).max(-1)
    wrong_N = (predicted_N != samples.labels_N).nonzero()[:, 0]
    return wrong_N[confidence_N[wrong_N].argsort(descending=True, stable=True)][:count]


def mistaken_classes(samples: TestSamples, rows_B: Tensor) -> Tensor:
    """The predicted class of misclassified rows, or the most confidently misclassified one of several, int64 (B,)."""
    return (_confidence_of_mistakes(samples) if samples.multi_label else samples.logits_NK)[rows_B].argmax(1)


def _confidence_of_mistakes(samples: TestSamples) -> Tensor:
    """How far each probability is from what is true, (N, K); 0 where the class is not misclassified."""
    return (samples.probabilities_NK - samples.labels_N).abs() * (samples.predicted_N != samples.labels_N)


def captions(samples: TestSamples, rows_B: Tensor, names: list[str]) -> list[str]:
    """The true and the predicted class of each sample, with the probability of the predicted one; or all true and all
    predicted classes."""
    if samples.multi_label:
        true, predicted = (names_of(of_all[rows_B], names) for of_all in (samples.labels_N, samples.predicted_N))
        return [
            f"{_short(a, MAX_LETTERS + 4)}\n→ {_short(b, MAX_LETTERS + 2)}"
            for a, b in zip(true, predicted, strict=True)
        ]
    probability_B, predicted_B = samples.logits_NK[rows_B].softmax(-1).max(-1)
    return [
        f"{_short(names[int(true)])}\n→ {_short(names[int(predicted)])} {probability:.0%}"
        for true, predicted, probability in zip(
            samples.labels_N[rows_B].tolist(), predicted_B.tolist(), probability_B.tolist(), strict=True
        )
    ]


def _short(name: str, letters: int = MAX_LETTERS) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def images_of(data: ImageDataModule, samples: TestSamples, rows_B: Tensor) -> Tensor:
    """uint8 images (B, H, W, C) of some rows of the samples on the CPU, as the network sees them."""
    images_NHWC = data.image_set("test").images_NHWC
    images_BHWC = images_NHWC[samples.indices_N[rows_B].to(images_NHWC.device)].cpu()
    return data.center(images_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def activation_maps(
    net: torch.nn.Module, data: ImageDataModule, images_BHWC: Tensor, classes_B: Tensor
) -> Tensor | None:
    """What in uint8 images raises the logit of a class, (B, H, W) on the CPU; None without a feature map."""
    images_BCHW = data.normalize_images(images_BHWC.permute(0, 3, 1, 2).float() / 255)
    weights = next(net.parameters(), images_BCHW)
    maps_BHW = class_activation_maps(net, images_BCHW.to(weights.device, weights.dtype), classes_B.to(weights.device))
    return None if maps_BHW is None else maps_BHW.cpu()
