"""What the registry knows about a metric of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

from ttame.metrics.texts.measured_text import MeasuredText
from ttame.metrics.texts.text_protocol import TextProtocol

Measure = Callable[[MeasuredText, TextProtocol], Mapping[str, float]]
"""A text to its values by key; ``KEY.curve@X`` is a point of a curve. NaN: it has no value."""


@dataclasses.dataclass(frozen=True, eq=False)
class TextMetric:
    """The facts about a metric of texts, and the function that measures it.

    Attributes:
        name: in the registry and on the command line.
        title: as papers write it.
        better: whether higher or lower numbers are better; ``"neither"`` for what only describes.
        paper: authors, place or arXiv number.
        measures: one sentence that says what the number means.
        cost: what measuring costs a text, in words.
        function: gives a text its values.
        reads: the settings of the protocol on which they depend.
        needs_rationales: whether the data must be annotated.
        curve_over: what the points of its curve stand at.
        unit: the unit of its values.
        bounds: least and greatest value.
        per_class: whether texts of a class are averaged before classes are; none does it.
        gated: whether tables leave out the methods that fail the randomisation check; none does.

    Example:
        >>> from ttame.metrics.texts.known_text_metrics import TEXT_METRICS
        >>> TEXT_METRICS["sufficiency"].better
        'lower'
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    paper: str
    measures: str
    cost: str
    function: Measure
    reads: tuple[str, ...]
    needs_rationales: bool = False
    curve_over: str = ""
    unit: str = "%"
    bounds: tuple[float, float] = (0.0, 100.0)
    per_class: bool = False
    gated: bool = False
