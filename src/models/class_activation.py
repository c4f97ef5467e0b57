"""Where a network looks: class-activation maps by Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391).

Shapes: B images, C channels, H rows, W columns, K classes; F channels, h rows and w columns of a feature map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def class_activation_maps(net: nn.Module, images_BCHW: Tensor, classes_B: Tensor) -> Tensor | None:
    """What in each image raises the logit of a class: the mean gradient of the logit weights the channels of the last
    feature map, whose positive sum is scaled to the size of the image.

    Leaves no gradients in the network, and runs it in evaluation mode, which it restores. The network may be in
    inference mode or frozen.

    Args:
        net: a network from images to logits (B, K).
        images_BCHW: its normalized images, on its device.
        classes_B: the class of each map.

    Returns:
        Maps (B, H, W) in [0, 1], all zero where nothing raises the logit; None if the network has no feature map
        (B, F, h, w) of more than one pixel.
    """
    features_BFhw: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
            features_BFhw[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in net.modules()]
    try:
        with evaluating(net), torch.inference_mode(False), torch.enable_grad():
            # An inference tensor has no gradient; the images need one so that a frozen network has a graph.
            images_BCHW = images_BCHW.detach().clone().requires_grad_()
            logits_BK = net.forward(images_BCHW)  # not the compiled call, which skips the hooks
            if not features_BFhw:
                return None
            classes_B = classes_B.clone()
            (gradients_BFhw,) = torch.autograd.grad(logits_BK.gather(1, classes_B[:, None]).sum(), features_BFhw)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        weights_BF11 = gradients_BFhw.mean((2, 3), keepdim=True)
        maps_B1hw = (weights_BF11 * features_BFhw[0]).sum(1, keepdim=True).relu().float()
        maps_B1hw = maps_B1hw / maps_B1hw.amax((2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return F.interpolate(maps_B1hw, images_BCHW.shape[2:], mode="bilinear")[:, 0]


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Sets a network to evaluation mode, and afterwards each of its modules to the mode that it had."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
