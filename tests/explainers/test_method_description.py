"""What the page about all methods and the terminal read from docstrings."""

from __future__ import annotations

import pytest

from ttame.explainers.known_explainers import EXPLAINERS, method_options
from ttame.explainers.method_description import (
    MethodOption,
    argument_meanings,
    describe_method,
)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_says_what_it_does_and_what_its_options_mean(name: str) -> None:
    described = describe_method(name)
    assert described.card.name == name
    assert described.summary.endswith((".", ":"))
    assert {option.name: option.default for option in described.options} == method_options(name)
    for option in described.options:
        assert option.meaning, f"{name}.{option.name} is not in the docstring's Args"


def test_meanings_are_read_entry_by_entry() -> None:
    documented = """Sum up.

Args:
    steps: how many: at least 1,
        at most 9.

    low, high: the bounds.
    flag (bool): on or off.

Raises:
    ValueError: never.
"""
    assert argument_meanings(documented) == {
        "steps": "how many: at least 1, at most 9.",
        "low": "the bounds.",
        "high": "the bounds.",
        "flag": "on or off.",
    }
    assert argument_meanings("Nothing to set.") == {}


def test_defaults_are_shown_as_they_are_typed() -> None:
    shown = [MethodOption("x", value, "").shown_default for value in (None, True, 0.5, "mean")]
    assert shown == ["automatic", "true", "0.5", "mean"]
