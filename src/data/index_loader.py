"""Batches of sample indices, distributed over the ranks.

Shapes: N samples, B of them in a batch on this rank.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor

from src import rng
from src.data.batch import IndexBatch
from src.errors import UserError


@dataclass(eq=False)
class IndexLoader:
    """Yields batches of sample indices. `batch_size` counts the samples of all ranks: rank r gets every world_size-th
    index of a batch, from the r-th on. So each step has the same samples for any number of ranks, no batch is padded
    and no sample occurs twice. Raises UserError if `batch_size` is not a multiple of `world_size`.

    An iterable with a length is all that Lightning needs; a `torch.utils.data.DataLoader` would add workers and
    collation, which indices do not need. With `state_dict` and `load_state_dict` a run resumes within an epoch.
    """

    indices_N: Tensor  # the samples of an epoch
    batch_size: int
    _: KW_ONLY
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False  # drop a last batch that is incomplete
    shuffle_seed: int | None = None  # of the order, which differs in each epoch; None keeps that of indices_N
    balanced_labels_N: Tensor | None = None  # classes of indices_N, of which each occurs equally often; needs the seed
    epoch: Callable[[], int] = lambda: 0  # returns the current epoch
    limit: Callable[[], float] = lambda: math.inf  # returns the number of batches after which the trainer ends an epoch

    def __post_init__(self) -> None:
        if self.batch_size % self.world_size:
            raise UserError(
                f"batch_size {self.batch_size} does not divide by {self.world_size} processes; it counts the samples "
                f"of all processes, so use a multiple of {self.world_size}"
            )
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
        order_N, repeats_N = self.indices_N, None
        if self.shuffle_seed is not None:
            shuffled_N = rng.permutation(len(order_N), self.shuffle_seed, rng.Stream.ORDER, epoch)
            if self.balanced_labels_N is not None:
                chosen_N, repeats_N = balanced(self.balanced_labels_N, shuffled_N, epoch)
                again_N = rng.permutation(len(order_N), self.shuffle_seed, rng.Stream.ORDER, epoch, 1)
                shuffled_N, repeats_N = chosen_N[again_N], repeats_N[again_N]
            order_N = order_N[shuffled_N]
        saved_epoch, done = self._resume_at or (epoch, 0)
        self._resume_at = None
        for number in range(done if saved_epoch == epoch else 0, len(self)):
            batch = order_N[number * self.batch_size : (number + 1) * self.batch_size]
            self._position = (epoch, number + 1)
            shard = slice(self.rank, None, self.world_size)
            repeats = None
            if repeats_N is not None:
                of_batch = repeats_N[number * self.batch_size : (number + 1) * self.batch_size]
                repeats = (of_batch[shard], of_batch.flip(0)[shard])
            yield IndexBatch(batch[shard], len(batch), batch.flip(0)[shard], repeats)

    def state_dict(self) -> dict[str, Any]:
        epoch, done = self._position
        sizes = {"batch_size": self.batch_size, "samples": len(self.indices_N), "of": min(len(self), self.limit())}
        return {"epoch": epoch, "batches": done, **sizes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next iteration continue from a position, if it is in the same epoch. Raises UserError if the batches
        of that epoch were others."""
        saved, current = (state["batch_size"], state["samples"]), (self.batch_size, len(self.indices_N))
        if saved != current and 0 < state["batches"] < state["of"]:
            raise UserError(
                f"the checkpoint is from the middle of an epoch, after {state['batches']} batches of batch_size "
                f"{saved[0]} of {saved[1]} samples; it cannot continue with batch_size {current[0]} of {current[1]} "
                "samples. Resume with the original values; they can change after the end of an epoch"
            )
        self._position = self._resume_at = (state["epoch"], state["batches"])


def balanced(labels_N: Tensor, shuffled_N: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
    """As many samples as there are, the same number of each class (to one, in turn): of a large class some, of a small
    one all, repeatedly.

    Args:
        labels_N: the classes.
        shuffled_N: the samples in random order.
        epoch: decides which classes get one more.

    Returns:
        The samples, and how often each has occurred before, both by class.
    """
    n = len(labels_N)
    counts_K = labels_N.bincount()
    counts_K = counts_K[counts_K > 0]  # a class may have no samples
    by_class_N = shuffled_N[labels_N[shuffled_N].argsort(stable=True)]
    quota_K = torch.full_like(counts_K, n // len(counts_K))
    quota_K[(torch.arange(n % len(counts_K)) + epoch) % len(counts_K)] += 1
    class_N = torch.arange(len(counts_K)).repeat_interleave(quota_K)
    nth_N = torch.arange(n) - (quota_K.cumsum(0) - quota_K)[class_N]  # within the class
    first_K = counts_K.cumsum(0) - counts_K
    return by_class_N[first_K[class_N] + nth_N % counts_K[class_N]], nth_N // counts_K[class_N]
