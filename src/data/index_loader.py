"""Batches of sample indices, distributed over the ranks.

Shapes: N samples, B of them in a batch on this rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from src import rng
from src.data.batch import IndexBatch
from src.errors import UserError


class IndexLoader:
    """Yields batches of sample indices. `batch_size` counts the samples of all ranks: rank r gets every world_size-th
    index of a batch, from the r-th on. So each step has the same samples for any number of ranks, no batch is padded
    and no sample occurs twice.

    An iterable with a length is all that Lightning needs; a `torch.utils.data.DataLoader` would add workers and
    collation, which indices do not need. With `state_dict` and `load_state_dict` a run resumes within an epoch.
    """

    def __init__(
        self,
        indices_N: Tensor,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        shuffle_seed: int | None = None,
        epoch: Callable[[], int] = lambda: 0,
        limit: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """
        Args:
            indices_N: the samples of an epoch.
            batch_size: samples per step over all ranks.
            rank: of this process.
            world_size: number of processes.
            drop_last: drop a last batch that is incomplete.
            shuffle_seed: seed of the order, which differs in each epoch; None keeps the order of `indices_N`.
            epoch: returns the current epoch.
            limit: returns the number of batches after which the trainer ends an epoch.

        Raises:
            UserError: if `batch_size` is not a multiple of `world_size`.
        """
        if batch_size % world_size:
            raise UserError(
                f"batch_size {batch_size} does not divide by {world_size} processes; it counts the samples of all "
                f"processes, so use a multiple of {world_size}"
            )
        self.indices_N = indices_N
        self.batch_size = batch_size
        self.rank, self.world_size = rank, world_size
        self.drop_last = drop_last
        self.shuffle_seed = shuffle_seed
        self.epoch = epoch
        self.limit = limit
        self._position = (0, 0)  # epoch, and number of batches yielded in it
        self._resume_at: tuple[int, int] | None = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.indices_N), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def num_samples(self, first: int, last: int) -> int:
        """Samples of all ranks in the batches from `first` to before `last`."""
        return min(last * self.batch_size, len(self.indices_N)) - first * self.batch_size

    def __iter__(self) -> Iterator[IndexBatch]:
        # A generator, because Lightning calls iter() before it sets the epoch, and next() after.
        epoch = self.epoch()
        order_N = self.indices_N
        if self.shuffle_seed is not None:
            order_N = order_N[rng.permutation(len(order_N), self.shuffle_seed, rng.Stream.ORDER, epoch)]
        saved_epoch, done = self._resume_at or (epoch, 0)
        self._resume_at = None
        for number in range(done if saved_epoch == epoch else 0, len(self)):
            batch = order_N[number * self.batch_size : (number + 1) * self.batch_size]
            self._position = (epoch, number + 1)
            yield IndexBatch(batch[self.rank :: self.world_size], len(batch))

    def state_dict(self) -> dict[str, Any]:
        epoch, done = self._position
        sizes = {"batch_size": self.batch_size, "samples": len(self.indices_N), "of": min(len(self), self.limit())}
        return {"epoch": epoch, "batches": done, **sizes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next iteration continue from a position, if it is in the same epoch.

        Raises:
            UserError: if the position is within an epoch of other batches.
        """
        saved, current = (state["batch_size"], state["samples"]), (self.batch_size, len(self.indices_N))
        if saved != current and 0 < state["batches"] < state["of"]:
            raise UserError(
                f"the checkpoint is from the middle of an epoch, after {state['batches']} batches of batch_size "
                f"{saved[0]} of {saved[1]} samples; it cannot continue with batch_size {current[0]} of {current[1]} "
                "samples. Resume with the original values; they can change after the end of an epoch"
            )
        self._position = self._resume_at = (state["epoch"], state["batches"])
