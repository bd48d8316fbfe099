"""What a protocol of texts refuses, and what its hash stands for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ttame.errors import TtameError
from ttame.metrics.texts.text_protocol import TextProtocol


@pytest.mark.parametrize(
    "changed",
    [
        {"explained_class": "top-1"},
        {"merging": "largest magnitude"},
        {"clamped": False},
        {"unit": "tokens"},
        {"taken_away": "mask"},
        {"counts": (5,)},
        {"shares": (0.5,)},
        {"steps": 3},
        {"area": "trapezoids"},
        {"seed": 1},
    ],
)
def test_every_setting_changes_the_hash(changed: dict[str, Any]) -> None:
    protocol = TextProtocol("mine")
    other = dataclasses.replace(protocol, **changed)
    assert other.hash != protocol.hash
    assert other.settings() != protocol.settings()


def test_names_and_lists_of_metrics_change_no_number() -> None:
    named = TextProtocol("a", "b", "c", ("auprc",), ("token_f1",))
    assert named.hash == TextProtocol("d").hash


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"counts": (0,)}, "0 words"),
        ({"shares": (0.0,)}, "share 0.0"),
        ({"shares": (1.1,)}, "share 1.1"),
        ({"steps": 0}, "0 steps"),
    ],
)
def test_numbers_without_sense_are_refused(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(TtameError, match=problem):
        TextProtocol("mine", **wrong)
