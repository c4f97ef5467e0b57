"""Optimizers and learning-rate schedules."""

from src.optim.muon import Muon
from src.optim.warmup_decay import WarmupDecay

__all__ = ["Muon", "WarmupDecay"]
