"""TensorBoard's hyperparameters."""

from __future__ import annotations

from src.callbacks.hyperparameter_logger import flatten


def test_a_nested_configuration_is_flattened() -> None:
    config = {"net": {"class_path": "A", "init_args": {"size": 3}}, "augment": ["x"], "none": None}
    assert flatten(config) == {"net.class_path": "A", "net.size": 3, "augment.0": "x", "none": "none"}
