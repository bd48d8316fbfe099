"""Which class a label means, and what is said where nobody can tell."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ttame.errors import EvaluationError, on_command_line
from ttame.evaluation.texts.label_classes import label_class

NAMES = ("NEGATIVE", "POSITIVE")


@pytest.mark.parametrize(
    ("label", "names", "given", "expected"),
    [
        ("positive", NAMES, {}, 1),
        ("neg", NAMES, {}, 0),
        (1, NAMES, {}, 1),
        ("0", (), {}, 0),
        ("pos", ("LABEL_0", "LABEL_1"), {"pos": 1}, 1),
        ("good", NAMES, {"good": "positive"}, 1),
        (0, NAMES, {"0": "POSITIVE"}, 1),
        # A name counts before names that it begins.
        ("sport", ("sports", "sport"), {}, 1),
    ],
)
def test_labels_mean_classes(
    label: str | int, names: tuple[str, ...], given: Mapping[str, int | str], expected: int
) -> None:
    assert label_class(label, names, 2, given) == expected


@pytest.mark.parametrize("label", ["spam", 2, -1, "7", "", "99999999999", "²"])
def test_labels_that_mean_nothing_are_refused(label: str | int) -> None:
    with pytest.raises(EvaluationError, match="is not a class") as refused:
        label_class(label, NAMES, 2, {})
    assert "NEGATIVE, POSITIVE" in str(refused.value)
    assert f"--label-class {label}=0" in on_command_line(refused.value)


def test_several_classes_are_no_answer() -> None:
    with pytest.raises(EvaluationError, match="is not a class"):
        label_class("s", ("sports", "science"), 2, {})


def test_classes_without_names_are_numbers() -> None:
    with pytest.raises(EvaluationError, match="allowed: 0 to 2"):
        label_class("pos", (), 3, {})
