"""From which probability on one of several independent findings counts as found."""

from __future__ import annotations

from typing import Any

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.errors import ClassSelectionError, setting
from ttame.results.prediction import FOUND_FROM


def checked_threshold(threshold: float | None, classifier: AnyClassifier[Any, Any]) -> float | None:
    """The threshold of a report; ``None`` where exactly one class is true.

    Args:
        threshold: as it was asked for; ``None`` for 0.5.
        classifier: the explained network.

    Raises:
        ClassSelectionError: it is not between 0 and 1, or there is nothing to find.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> print(checked_threshold(None, tiny_classifier()))
        None
    """
    if classifier.outputs.exclusive:
        if threshold is not None:
            raise ClassSelectionError(
                f"a threshold of {threshold} for {classifier.name}, of whose classes exactly one "
                "is true",
                remedy=f"{setting('outputs', 'sigmoid')}, if they are independent findings",
            )
        return None
    if threshold is not None and not 0 < threshold < 1:
        raise ClassSelectionError(f"threshold {threshold}", allowed="a number between 0 and 1")
    return FOUND_FROM if threshold is None else float(threshold)
