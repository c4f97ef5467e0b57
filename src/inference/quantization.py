"""Static quantization of a .onnx file to 8 bits by onnxruntime. With dynamic quantization, the result of an image
would depend on the others of its batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from src.errors import optional_package

ONNX = "the format onnx, unlike torch-export,", "onnx onnxruntime onnxscript"


def quantize(path: Path, calibration: Iterator[Tensor]) -> None:
    """Replaces weights and inputs of convolutions and linear layers by int8 and uint8, whose ranges are measured on the
    images (B, H, W, 3)."""
    by, onnx = (optional_package(name, *ONNX) for name in ("onnxruntime.quantization", "onnx"))
    prepared = path.with_suffix(".prepared.onnx")
    optional_package("onnxruntime.quantization.shape_inference", *ONNX).quant_pre_process(
        path, prepared, skip_symbolic_shape=True
    )
    model = onnx.load(prepared)
    prepared.unlink()
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    # Images are resized in float64, and their pixels stay as they are.
    exact = [node.name for node in model.graph.node if types.get(node.output[0]) == onnx.TensorProto.DOUBLE]
    by.quantize_static(
        model,
        path,
        _Reader(calibration),
        # With ReLU and ReLU6 among them, the range of a convolution in front of one is that of what passes.
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Relu", "Clip"],
        nodes_to_exclude=exact,
        per_channel=True,
        activation_type=by.QuantType.QUInt8,
        weight_type=by.QuantType.QInt8,
        # Weights of 7 bits: with 8, processors without VNNI saturate the sum of two products, which is of 16 bits.
        reduce_range=True,
    )


class _Reader:
    """What onnxruntime calls until it returns None."""

    def __init__(self, images: Iterator[Tensor]) -> None:
        self._images = images

    def get_next(self) -> dict[str, Any] | None:
        images_BHWC = next(self._images, None)
        return None if images_BHWC is None else {"images": images_BHWC.numpy()}
