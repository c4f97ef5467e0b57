"""Networks of which each rank has a part, as by `src.runtime.fsdp.FSDP`."""

from __future__ import annotations

from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

IS_SHARDED = "the network is sharded, and the first process alone cannot run it; test the run on one device"


def is_sharded(trainer: Trainer, net: nn.Module) -> bool:
    """Whether a rank alone cannot run the network."""
    strategy = trainer.strategy
    is_divided = isinstance(strategy, ParallelStrategy) and not isinstance(strategy, DDPStrategy)
    return is_divided or any(isinstance(param, DTensor) for param in net.parameters())


def complete(value: Tensor) -> Tensor:
    """Gathers a tensor if it is sharded, which all ranks have to do."""
    return value.full_tensor() if isinstance(value, DTensor) else value
