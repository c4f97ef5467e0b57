"""Global batches of sample numbers, shared by the ranks.

Shapes: N samples to go through, B samples of this rank in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from src import rng
from src.data.batch import IndexBatch


class IndexLoader:
    """A loader of index batches. The batch size is that of all ranks together; rank r takes every
    world_size-th sample from the r-th on, so that at each step the union over the ranks does not depend on
    how many there are. Nothing is padded and nothing is seen twice.

    It is a plain iterable with a length, which is all Lightning asks of a loader: a
    `torch.utils.data.DataLoader` around it would only add workers and collation that sample numbers do not
    need. `state_dict` and `load_state_dict` are what Lightning looks for to go on in the middle of an epoch.
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
    ) -> None:
        """
        Args:
            indices_N: the samples to go through.
            batch_size: samples in a step, of all ranks together.
            rank: this process.
            world_size: number of processes.
            drop_last: leave out a last batch that is not full.
            shuffle_seed: shuffle anew in each epoch, by this seed; None keeps the order.
            epoch: tells the present epoch when an iteration begins.
        """
        if batch_size % world_size:
            raise ValueError(
                f"batch_size {batch_size} does not divide by {world_size} processes; batch_size is that of all "
                f"processes together, so use a multiple of {world_size}"
            )
        self.indices_N = indices_N
        self.batch_size = batch_size
        self.rank, self.world_size = rank, world_size
        self.drop_last = drop_last
        self.shuffle_seed = shuffle_seed
        self.epoch = epoch
        self._position = (0, 0)  # epoch and number of batches given out in it
        self._resume_at: tuple[int, int] | None = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.indices_N), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[IndexBatch]:
        # A generator: Lightning calls iter() before it knows the epoch, and next() after.
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
        """How far the present epoch has come."""
        epoch, done = self._position
        return {
            "epoch": epoch,
            "batches": done,
            "batch_size": self.batch_size,
            "samples": len(self.indices_N),
            "of": len(self),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next iteration go on from there, if it is one of the same epoch.

        Raises:
            ValueError: if what is left of the epoch cannot be told, because its batches were others.
        """
        was, present = (state["batch_size"], state["samples"]), (self.batch_size, len(self.indices_N))
        if was != present and 0 < state["batches"] < state["of"]:
            raise ValueError(
                f"the checkpoint is from the middle of an epoch, after {state['batches']} batches of batch_size "
                f"{was[0]} of {was[1]} samples; the rest of it cannot be told in batches of batch_size {present[0]} "
                f"of {present[1]} samples. Go on with both as they were; after an epoch's end they may change"
            )
        self._position = self._resume_at = (state["epoch"], state["batches"])
