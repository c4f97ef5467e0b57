"""SpeedNet: number of parameters, whitening, identity initialization, frozen parameters."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn

from src.models.speednet import SpeedNet, _conv, whitening

SMALL = (24, 32, 32)


@pytest.fixture
def images_BCHW() -> Tensor:
    """Noise with correlated neighboring pixels and correlated channels, as in photographs."""
    generator = torch.Generator().manual_seed(0)
    noise_BCHW = torch.randn(64, 3, 34, 34, generator=generator)
    smooth_BCHW = nn.functional.avg_pool2d(noise_BCHW, 3, stride=1)
    return 2 * smooth_BCHW.mean(1, keepdim=True) + smooth_BCHW


def whitened(net: SpeedNet, images_BCHW: Tensor) -> Tensor:
    """Outputs of the first convolution without its bias, one row per patch, (N, 24)."""
    outputs_BCHW = nn.functional.conv2d(images_BCHW, net.whiten.weight)
    return outputs_BCHW.permute(0, 2, 3, 1).flatten(0, 2)


def test_number_of_parameters():
    # Whitening 24 * 12 + 24; convolutions of the blocks 9 * (24 * 64 + 64 * 64), 9 * (64 * 256 + 256 * 256) and
    # 9 * 2 * 256 * 256; batch norms 2 * 2 * (64 + 256 + 256); head 256 * 10.
    net = SpeedNet()
    assert sum(parameter.numel() for parameter in net.parameters()) == 1_972_792
    # Without the 288 weights of the whitening and the 1,152 weights of the batch norms.
    assert sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad) == 1_971_352


@pytest.mark.parametrize(("num_classes", "channels", "image_size"), [(10, 3, 32), (2, 1, 9), (3, 3, 64)])
def test_one_row_of_logits_per_image(num_classes: int, channels: int, image_size: int):
    net = SpeedNet(num_classes, image_size, channels, SMALL)
    assert net(torch.zeros(2, channels, image_size, image_size)).shape == (2, num_classes)


def test_whitening_removes_the_correlation(images_BCHW: Tensor):
    net = SpeedNet(widths=SMALL)
    net.init_from_data(images_BCHW)
    outputs_ND = whitened(net, images_BCHW)[:, :12]
    moments_DD = outputs_ND.T @ outputs_ND / len(outputs_ND)
    # 1 - eps / eigenvalue; the smallest eigenvalue is 0.008 here.
    assert torch.allclose(moments_DD, torch.eye(12), atol=0.1)
    assert torch.allclose(moments_DD - moments_DD.diag().diag(), torch.zeros(12, 12), atol=1e-3)


def test_first_layer_outputs_the_pixels_with_both_signs_before_init_from_data(images_BCHW: Tensor):
    outputs_ND = whitened(SpeedNet(widths=SMALL), images_BCHW)
    pixels_ND = images_BCHW.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    assert torch.allclose(outputs_ND, torch.cat([pixels_ND, -pixels_ND], dim=1))


def test_whitening_is_the_same_under_autocast(images_BCHW: Tensor):
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast_DD = whitening(images_BCHW)
    assert torch.equal(under_autocast_DD, whitening(images_BCHW))


def test_whitening_of_constant_images_is_finite():
    assert whitening(torch.ones(2, 3, 9, 9)).isfinite().all()


def test_convolution_is_initialized_as_the_identity():
    conv = _conv(3, 5)
    features_BCHW = torch.rand(2, 3, 4, 4)
    assert torch.equal(conv(features_BCHW)[:, :3], features_BCHW)
    assert conv.weight[3:].abs().sum() > 0


@pytest.mark.parametrize("whiten_bias", [False, True])
def test_whitening_and_batch_norm_weights_have_no_gradient(whiten_bias: bool, images_BCHW: Tensor):
    net = SpeedNet(widths=SMALL, whiten_bias=whiten_bias)
    net(images_BCHW[:4]).square().sum().backward()
    without = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    norms = {f"block{block}.norm{norm}.weight" for block in (1, 2, 3) for norm in (1, 2)}
    assert without == norms | {"whiten.weight"} | (set() if whiten_bias else {"whiten.bias"})


def test_checkpoint_restores_the_whitening(images_BCHW: Tensor):
    trained = SpeedNet(widths=SMALL)
    trained.init_from_data(images_BCHW)
    trained(images_BCHW[:8])
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    loaded = SpeedNet(widths=SMALL)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(loaded.eval()(images_BCHW), trained.eval()(images_BCHW))
    assert not loaded.whiten.weight.requires_grad


def test_trains_in_bf16_with_channels_last(images_BCHW: Tensor):
    net = SpeedNet(widths=SMALL).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    net.init_from_data(images_BCHW)
    with torch.autocast("cpu", torch.bfloat16):
        logits_BK = net(images_BCHW[:8].to(memory_format=torch.channels_last))
    logits_BK.float().square().sum().backward()
    assert net.whiten.weight.dtype == torch.float32
    assert net.block1.conv1.weight.grad is not None
    assert net.block1.conv1.weight.grad.isfinite().all()


def test_running_statistics_use_the_momentum(images_BCHW: Tensor):
    net = SpeedNet(widths=SMALL, batchnorm_momentum=0.75)
    net(torch.zeros(2, 3, 32, 32))  # with variance 0, 0.75 * 1 + 0.25 * 0
    assert torch.allclose(net.block1.norm1.running_var, torch.tensor(0.75))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"image_size": 8}, "image_size 8 is too small .* at least 9"),
        ({"num_classes": 0}, "num_classes 0 and channels 3 must be at least 1"),
        ({"channels": 0}, "channels 0 must be at least 1"),
        ({"batchnorm_momentum": 1.0}, r"batchnorm_momentum 1.0 is outside \[0, 1\)"),
        ({"widths": (16, 32, 32)}, r"widths \(16, 32, 32\) must not decrease and must start with at least 24"),
        ({"widths": (64, 32, 32)}, "must not decrease"),
    ],
)
def test_number_out_of_range_raises(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SpeedNet(**wrong)
