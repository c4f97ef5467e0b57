"""What the ranks of a run exchange in addition to gradients and metrics: numbers to agree on, and which rank died."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning import Trainer
from torch import distributed
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from src.errors import RankLost

# The others respond within milliseconds. Where Lightning started them, its observer checks every 5 seconds and kills
# all that are left; the message of the survivors should come before.
TIMEOUT_SECONDS = 1.5

# One per strategy, since all ranks create a process group together and it lasts as long as theirs.
_GROUPS: WeakKeyDictionary[object, Any] = WeakKeyDictionary()


def all_reduce_max(trainer: Trainer, value: int) -> int:
    """The maximum over all ranks, which have to call this at the same point.

    It is reduced on the CPUs: on the GPUs each step would wait for the one before it. And a rank whose peer has died
    fails here, if it is not already waiting in an operation of NCCL's.
    """
    if trainer.world_size == 1:
        return value
    if trainer.strategy not in _GROUPS:
        gloo = distributed.get_backend() == "gloo"
        _GROUPS[trainer.strategy] = None if gloo else distributed.new_group(backend="gloo")
    tensor = torch.tensor(value)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX, group=_GROUPS[trainer.strategy])
    return int(tensor)


def process_name(rank: int) -> str:
    """This process in messages, which tells where to look for its output."""
    return f"rank {rank} (process {os.getpid()} on {socket.gethostname()})"


class RankRegistry:
    """Finds the ranks that still respond after a collective operation has failed.

    The first rank serves a small store of its own, since the store of the rendezvous ends with the process group.
    """

    def __init__(self, trainer: Trainer) -> None:
        """Called by all ranks together."""
        self.rank, self.world_size = trainer.global_rank, trainer.world_size
        address = os.environ.get("MASTER_ADDR", "127.0.0.1")
        timeout = timedelta(seconds=30)
        port = 0
        if self.rank == 0:
            self.store = TCPStore(address, 0, None, True, timeout, wait_for_workers=False)
            port = self.store.port
        port = all_reduce_max(trainer, port)
        if self.rank > 0:
            self.store = TCPStore(address, port, None, False, timeout)
        self.store.set(f"name/{self.rank}", process_name(self.rank))
        all_reduce_max(trainer, 0)  # a barrier: every name is set
        self.names = [self.store.get(f"name/{rank}").decode() for rank in range(self.world_size)]

    def missing(self) -> list[str]:
        """The ranks that do not respond within TIMEOUT_SECONDS; one in a longer step counts as dead, too."""
        # The others may wait for this rank and not for the dead one: now they fail, too, and respond.
        distributed.destroy_process_group()
        silent = set(range(self.world_size))
        end = time.monotonic() + TIMEOUT_SECONDS
        try:
            self.store.set(f"alive/{self.rank}", "")
            while silent and time.monotonic() < end:
                silent = {rank for rank in silent if not self.store.check([f"alive/{rank}"])}
                time.sleep(0.05)
        except (distributed.DistError, RuntimeError):
            silent &= {0}  # the store is gone, and so is the first rank
        return [self.names[rank] for rank in sorted(silent)]


def is_lost_connection(error: BaseException) -> bool:
    """Whether an operation failed because another rank is gone."""
    # torch has no exception type of its own for what gloo reports.
    return isinstance(error, distributed.DistBackendError | distributed.DistNetworkError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )


def lost(registry: RankRegistry, directory: object) -> RankLost:
    """The error that names the missing ranks."""
    who = ", ".join(registry.missing()) or "a rank"
    return RankLost(
        f"{who} of {registry.world_size} no longer responds, so {registry.names[registry.rank]} stops; see the last "
        "output of the missing one, or whether it was killed because memory ran out. Resume with "
        f"`python -m src fit --resume {directory}`"
    )
