"""What an evaluation returns for each sample, from all ranks."""

from __future__ import annotations

import torch
from lightning import Trainer
from torch import Tensor


def gather(trainer: Trainer, batches: list[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """Concatenates the batches of all ranks on the CPU of rank 0, in the order of `indices`.

    Args:
        trainer: whose ranks all call this.
        batches: of this rank; tensors with one row per sample.

    Returns:
        One tensor per name; None on the other ranks, and where there are no batches.
    """
    # One copy per name, not one per batch, each of which would wait for the device.
    own = {name: torch.cat([batch[name] for batch in batches]).cpu() for name in batches[0]} if batches else {}
    shards = [own]
    if trainer.world_size > 1:
        shards = [{}] * trainer.world_size
        torch.distributed.gather_object(own, shards if trainer.is_global_zero else None)
    shards = [shard for shard in shards if shard]
    if not trainer.is_global_zero or not shards:
        return None
    gathered = {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}
    order_N = gathered["indices"].argsort()
    return {name: values[order_N] for name, values in gathered.items()}
