"""What the processes of a run tell each other beside their gradients: numbers to agree on, and who has died."""

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

# The others answer within milliseconds. Where Lightning started them, its own observer looks every 5 seconds and kills
# all that is left; what is said here should come before.
ANSWER_SECONDS = 1.5

# One a strategy, since a process group is made by all ranks together and lasts as long as theirs.
_GROUPS: WeakKeyDictionary[object, Any] = WeakKeyDictionary()


def all_reduce_max(trainer: Trainer, value: int) -> int:
    """The highest of all ranks' numbers; all have to ask at the same point.

    The numbers travel between the processors: asking the GPUs would let each step wait for the one before it. And
    a rank whose peer has died learns it here, if it does not already wait for it in an operation of NCCL's.
    """
    if trainer.world_size == 1:
        return value
    if trainer.strategy not in _GROUPS:
        gloo = distributed.get_backend() == "gloo"
        _GROUPS[trainer.strategy] = None if gloo else distributed.new_group(backend="gloo")
    number = torch.tensor(value)
    distributed.all_reduce(number, distributed.ReduceOp.MAX, group=_GROUPS[trainer.strategy])
    return int(number)


class RankRegistry:
    """Finds out, when a collective operation has failed, which ranks are still there.

    The first rank keeps a small store of its own, since the one that the ranks met at ends with their process group.
    """

    def __init__(self, trainer: Trainer) -> None:
        """All ranks together."""
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
        self.store.set(f"name/{self.rank}", f"rank {self.rank} (process {os.getpid()} on {socket.gethostname()})")
        all_reduce_max(trainer, 0)  # everyone has given its name
        self.names = [self.store.get(f"name/{rank}").decode() for rank in range(self.world_size)]

    def missing(self) -> list[str]:
        """Those that do not answer within ANSWER_SECONDS; one in the midst of a longer step is taken for dead, too."""
        # The others may wait for this rank and not for the dead one; this lets them fail, too, and answer.
        distributed.destroy_process_group()
        silent = set(range(self.world_size))
        end = time.monotonic() + ANSWER_SECONDS
        try:
            self.store.set(f"here/{self.rank}", "")
            while silent and time.monotonic() < end:
                silent = {rank for rank in silent if not self.store.check([f"here/{rank}"])}
                time.sleep(0.05)
        except (distributed.DistError, RuntimeError):
            silent &= {0}  # with the first rank goes the store
        return [self.names[rank] for rank in sorted(silent)]


def is_lost_connection(error: BaseException) -> bool:
    """Whether an operation failed because another rank is gone."""
    # torch has no type of its own for what gloo reports.
    return isinstance(error, distributed.DistBackendError | distributed.DistNetworkError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )


def lost(registry: RankRegistry, directory: object) -> RankLost:
    """The error for the user."""
    missing = registry.missing()
    who = ", ".join(missing) if missing else "a rank"
    return RankLost(
        f"{who} of {registry.world_size} no longer responds, so {registry.names[registry.rank]} stops; see its last "
        "output, or whether it was killed because it was out of memory. Resume by "
        f"`python -m src fit --resume {directory}`"
    )
