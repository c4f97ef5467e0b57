"""TensorBoard's page of hyperparameters."""

from __future__ import annotations

from src.callbacks.hyperparameters import flat


def test_a_nested_configuration_is_flattened() -> None:
    config = {"net": {"class_path": "A", "init_args": {"size": 3}}, "augment": ["x"], "none": None}
    assert flat(config) == {"net.class_path": "A", "net.size": 3, "augment.0": "x", "none": "none"}
