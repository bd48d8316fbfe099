"""Which class of a classifier a label of the data means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ttame.errors import EvaluationError, either
from ttame.files.printable_names import printable

LabelClasses = Mapping[str, int | str]
"""Label of the data to the class that it means, by number or name."""


def label_class(
    label: str | int, class_names: Sequence[str], number_of_classes: int, given: LabelClasses
) -> int:
    """The class that a label means.

    What was ``given`` counts first. Otherwise a number is a class number, and a word is the one
    class whose name it is, or begins, whatever the case: ``"neg"`` means ``"NEGATIVE"``.

    Args:
        label: the label of the data.
        class_names: the class names of the classifier; empty if it has none.
        number_of_classes: C.
        given: what the user said about labels.

    Returns:
        0 to C - 1.

    Raises:
        EvaluationError: no class or several fit.

    Example:
        >>> label_class("neg", ["NEGATIVE", "POSITIVE"], 2, {})
        0
        >>> label_class("neg", ["LABEL_0", "LABEL_1"], 2, {"neg": 1})
        1
    """
    meant = given.get(str(label), label)
    number = _number(meant)
    if number is not None:
        if 0 <= number < number_of_classes:
            return number
        raise _unknown(label, class_names, number_of_classes)
    word = str(meant).casefold()
    names = [name.casefold() for name in class_names]
    same = [place for place, name in enumerate(names) if name == word]
    fitting = same or [place for place, name in enumerate(names) if name.startswith(word)]
    if len(fitting) != 1:
        raise _unknown(label, class_names, number_of_classes)
    return fitting[0]


def _number(label: str | int) -> int | None:
    if isinstance(label, int):
        return label
    return int(label) if label.isascii() and label.isdigit() and len(label) < 10 else None


def _unknown(
    label: str | int, class_names: Sequence[str], number_of_classes: int
) -> EvaluationError:
    known = ", ".join(class_names[:8]) + (", …" if len(class_names) > 8 else "")
    shown = printable(str(label))[:60]
    return EvaluationError(
        f"label {shown!r} of the data is not a class of the classifier",
        allowed=known or f"0 to {number_of_classes - 1}",
        remedy=either(f"label_classes={{{shown!r}: 0}}", f"--label-class {shown}=0"),
    )
