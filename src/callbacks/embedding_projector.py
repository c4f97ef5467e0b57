"""TensorBoard's page PROJECTOR.

Shapes: B images, C channels, H rows, W columns, D features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from src import rng
from src.callbacks.class_names import class_names, names_of
from src.callbacks.display_only import display_only
from src.callbacks.sharded_network import IS_SHARDED, is_sharded
from src.callbacks.tensorboard import summary_writer
from src.data import ImageDataModule
from src.models.class_activation import evaluating

_THUMBNAIL = 32  # pixels
_BATCH = 128


class EmbeddingProjector(Callback):
    """Shows, when training ends, a fixed sample of validation images on TensorBoard's page PROJECTOR: each as a
    thumbnail with its class at the input of the network's last linear layer. The page TEXT says if there is no such
    layer, or no validation."""

    def __init__(self, num_images: int = 500) -> None:
        """
        Args:
            num_images: at most this many validation images, the same in all runs with the same split.

        Raises:
            ValueError: if the number is out of range.
        """
        if num_images < 1:
            raise ValueError(f"num_images {num_images} must be at least 1")
        self.num_images = num_images

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        net, writer = getattr(pl_module, "net", None), summary_writer(trainer)
        if not writer or not isinstance(data, ImageDataModule) or not isinstance(net, nn.Module):
            return
        if is_sharded(trainer, net):
            return writer.add_text("run/projector", f"No embeddings: {IS_SHARDED}.")
        with display_only("the page PROJECTOR"):
            images_NHWC, labels_N = data.image_set("train")
            sample_B = rng.permutation(len(data.val_indices), 0, rng.Stream.SPLIT)[: self.num_images]
            if not len(sample_B):
                return writer.add_text("run/projector", "No embeddings: there are no validation images.")
            features: list[Tensor | None] = []
            thumbnails: list[Tensor] = []
            for indices_B in data.val_indices[sample_B].to(images_NHWC.device).split(_BATCH):
                images_BCHW = images_NHWC[indices_B].permute(0, 3, 1, 2).float() / 255
                features.append(last_features(net, data.normalize_images(images_BCHW)))
                thumbnails.append(_thumbnails(images_BCHW))
            features_BD = [one for one in features if one is not None]
            if not features_BD:
                return writer.add_text("run/projector", "No embeddings: the network has no linear layer.")
            names = class_names(trainer, data.num_classes)
            labels_B = labels_N.cpu()[data.val_indices[sample_B].cpu()]
            classes = names_of(labels_B, names)
            writer.add_embedding(
                torch.cat(features_BD), classes, torch.cat(thumbnails), trainer.global_step, "validation"
            )


def _thumbnails(images_BCHW: Tensor) -> Tensor:
    shown_BCHW = images_BCHW[:, : 3 if images_BCHW.shape[1] >= 3 else 1].expand(-1, 3, -1, -1)
    return F.interpolate(shown_BCHW, (_THUMBNAIL, _THUMBNAIL), mode="bilinear", antialias=True).cpu()


@torch.no_grad()
def last_features(net: nn.Module, images_BCHW: Tensor) -> Tensor | None:
    """The input (B, D) of the linear layer that is called last, in evaluation mode, on the CPU; None without such a
    layer."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found[:] = [inputs[0].flatten(1).float()]

    hooks = [one.register_forward_pre_hook(keep) for one in net.modules() if isinstance(one, nn.Linear)]
    weights = next(net.parameters(), images_BCHW)
    try:
        with evaluating(net):
            net.forward(images_BCHW.to(weights.device, weights.dtype))  # not the compiled call, which skips the hooks
    finally:
        for hook in hooks:
            hook.remove()
    return found[0].cpu() if found else None
