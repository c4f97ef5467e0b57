"""What ranks exchange."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed import DistBackendError, DistNetworkError

from src.runtime import ranks


def test_the_maximum_over_one_rank_is_its_value() -> None:
    trainer: Any = SimpleNamespace(world_size=1)
    assert ranks.all_reduce_max(trainer, 7) == 7


@pytest.mark.parametrize(
    "error, expected",
    [
        (DistBackendError("NCCL timeout"), True),
        (DistNetworkError("connection reset"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("gloo"), False),
    ],
)
def test_a_lost_connection_is_recognized(error: Exception, expected: bool) -> None:
    assert ranks.is_lost_connection(error) is expected


@pytest.mark.parametrize("missing, who", [(["rank 1 (process 5 on b)"], r"rank 1 \(process 5 on b\)"), ([], "a rank")])
def test_the_error_names_the_missing_rank_and_how_to_resume(missing: list[str], who: str) -> None:
    registry: Any = SimpleNamespace(missing=lambda: missing, rank=0, world_size=2, names=["rank 0 (process 4 on a)"])
    with pytest.raises(ranks.RankLost, match=rf"^{who} of 2 no longer responds, so rank 0 .* fit --resume logs/a/b`"):
        raise ranks.lost(registry, "logs/a/b")
