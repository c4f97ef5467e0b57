"""Decoded pictures of one part of a data set, kept in one file that is mapped into memory and not read into it:
processes on one machine share its pages.

The file: N pictures of H * W * C bytes, N labels of a byte, and the SHA-256 of these and of a key.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor


def load(path: Path, shape_HWC: tuple[int, int, int], key: bytes) -> tuple[Tensor, Tensor] | None:
    """Pictures and labels, or none where the file is missing, damaged, or was saved under another key."""
    try:
        size = path.stat().st_size
        # Not shared: it is never written to, and may belong to someone else.
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    except (OSError, RuntimeError):
        return None
    body, digest = content.tensor_split([-hashlib.sha256().digest_size])
    # 0.1 s for the 154 MB of CIFAR-10's training pictures, which decoding takes 0.8 s for.
    if bytes(digest.tolist()) != _digest(key, body):
        return None
    pixels = torch.Size(shape_HWC).numel()
    n = len(body) // (pixels + 1)
    return body[: n * pixels].view(n, *shape_HWC), body[n * pixels :].long()


def save(path: Path, images_NHWC: Tensor, labels_N: Tensor, key: bytes) -> None:
    """Writes a file as a whole; of several processes that do, the last one's stays.

    Args:
        path: where to; the folder is made.
        images_NHWC: uint8.
        labels_N: from 0 to 255.
        key: tells what the pictures were decoded from, so that they are not taken for another's.

    Raises:
        OSError: if that was not possible; nothing is left then.
    """
    body = [images_NHWC.contiguous(), labels_N.to(torch.uint8)]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            for tensor in body:
                file.write(tensor.numpy().data)
            file.write(_digest(key, *body))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _digest(key: bytes, *body: Tensor) -> bytes:
    digest = hashlib.sha256(key)
    for tensor in body:
        digest.update(tensor.numpy().data)
    return digest.digest()
