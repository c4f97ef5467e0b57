"""Configurations with dotted keys."""

from __future__ import annotations

from src.studies.flat_config import ClassPath, as_text, flatten


def test_keys_are_those_of_the_command_line() -> None:
    config = {
        "model": {"net": {"class_path": "m.Wide", "init_args": {"betas": [0.9, 0.99]}, "dict_kwargs": {"width": 3}}},
        "trainer": {"max_epochs": 2, "logger": None},
    }
    assert flatten(config) == {
        "model.net": "m.Wide",
        "model.net.betas": [0.9, 0.99],
        "model.net.width": 3,
        "trainer.max_epochs": 2,
        "trainer.logger": None,
    }


def test_a_list_of_classes_has_their_arguments_below_their_names() -> None:
    steps = [{"class_path": "a.Flip"}, {"class_path": "a.b.Shift", "init_args": {"pixels": 2}}]
    assert flatten({"augment": steps}) == {"augment": "Flip, Shift", "augment.Shift.pixels": 2}


def test_values_are_written_as_in_yaml() -> None:
    assert [as_text(value) for value in (None, True, 0.1, ClassPath("a.b.C"), "a.b")] == [
        *("null", "true", "0.1", "C", "a.b")
    ]
