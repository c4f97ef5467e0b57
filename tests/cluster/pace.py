"""A callback for jobs that are interrupted."""

from __future__ import annotations

import os
import time
from typing import Any

from lightning import Callback

from src.runtime.job import Job


class Pace(Callback):
    """Makes the steps of a job last, until it has started again."""

    def __init__(self, seconds: float = 0.3) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        if not any(Job.of(os.environ).restarts):
            time.sleep(self.seconds)
