"""First weights that come from the data."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer

IMAGES = 5000


class DataDependentInit(Callback):
    """Calls the network's `init_from_data(images_BCHW)`, if it has one, with the first normalized training
    pictures when training begins at its beginning. A whitening layer, for one, takes its weights from them."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands over the pictures."""
        initialize = getattr(pl_module.net, "init_from_data", None)
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        # Weights of another run have seen their data already.
        if initialize is None or data is None or trainer.ckpt_path or getattr(pl_module, "init_from", None):
            return
        images_NHWC = data.image_set("train").images_NHWC[data.train_indices[:IMAGES]]
        images_BCHW = images_NHWC.permute(0, 3, 1, 2).to(pl_module.device).float() / 255
        initialize(data.normalized(images_BCHW))
