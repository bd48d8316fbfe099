"""What the registry knows about a metric, and how its function is called."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ttame.errors import TtameError
from ttame.metrics.map_masks import map_values
from ttame.metrics.measuring_batch import ARGUMENTS, MeasuringBatch
from ttame.metrics.protocol import SETTINGS, Protocol, percent

Function = Callable[..., Tensor | Mapping[str, Tensor]]
"""Tensors and options to a value of every image, (B,) float, or to several by name."""

Curve = Callable[..., Mapping[float, Tensor]]
"""Tensors and options to the points of a curve: a share in [0, 1] to (B,) float."""

Combine = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Means over images, (R,) for each part and R resamples, to the (R,) numbers of the table."""

JUDGED = "judged."
"""What the keys begin with whose numbers come from a second classifier."""

Needs = Literal["probabilities", "explain", "targets"]
_NEEDS: tuple[Needs, ...] = ("probabilities", "explain", "targets")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        key: the key of the column, and of the values whose mean it is unless ``parts`` are given.
        title: its heading.
        parts: keys of values whose means are combined.
        combine: means of the parts to the number.

    Example:
        >>> Column("mean_map", "Mean map").parts
        ()
    """

    key: str
    title: str
    parts: tuple[str, ...] = ()
    combine: Combine | None = None


def own_columns(metric: Metric, protocol: Protocol) -> tuple[Column, ...]:
    """The columns of a metric whose numbers are means of its values: one, or one for each share."""
    if metric.for_each is None:
        return (Column(metric.name, metric.title),)
    return tuple(
        Column(f"{metric.name}@{percent(share)}", f"{metric.title} at {percent(share)} % kept")
        for share in getattr(protocol, metric.options[metric.for_each])
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Metric:
    """The facts about a metric, and the public function that measures it.

    The function is called as it stands. What it asks for is told by the names of its parameters:
    fields of :class:`~ttame.metrics.measuring_batch.MeasuringBatch`, and settings of
    :class:`~ttame.metrics.protocol.Protocol`. Parameters that have neither name and neither stand
    in ``options`` nor in ``fixed`` keep their defaults. NaN means that the image has no value (no
    annotation, say): it does not count in the mean.

    Attributes:
        name: in the registry and on the command line.
        title: as papers write it.
        better: whether higher or lower numbers are better; ``"neither"`` for what only describes.
        unit: ``"%"``, or empty for a number without unit.
        paper: authors, place or arXiv number.
        measures: one sentence that says what the number means.
        cost: what measuring costs an image, in words.
        function: gives every image its value.
        options: parameter to the setting of the protocol that it is given, where the names differ.
        fixed: parameter to the value that it has in every table.
        for_each: a parameter that takes one number where the protocol's setting has several: the
            function is called with each, and each has its own column, ``NAME@PERCENT``.
        maps: whether functions are given ``"raw"`` maps, or ``"scaled"`` ones: (B, H, W) in
            [0, 1] at the images' size, as the protocol scales and resizes them.
        also: key to a function whose values are written as well; with several values by name,
            ``KEY.NAME``.
        curve: gives the points of the curve that reports draw; its values have the keys
            ``NAME.curve@PERCENT``.
        columns: the columns of the table.
        columns_read: settings of the protocol that ``columns`` looks at.
        bounds: least and greatest value.
        per_class: whether images of a class are averaged before classes are.
        gated: whether tables leave out the methods that fail the randomisation check.
        judged: the metric whose numbers a second classifier's probabilities give here; see
            :func:`ttame.metrics.judged_metrics.judged_metric`.
        curve_over: what the points of the curve stand at.

    Raises:
        TtameError: a function asks for what neither batch nor protocol have, or the metric names
            a setting or a parameter that does not exist.

    Example:
        >>> from ttame.metrics.known_metrics import METRICS
        >>> metric = METRICS["average_drop"]
        >>> metric.better, metric.unit
        ('lower', '%')
        >>> protocol = Protocol("mine", kept_shares=(1.0, 0.3))
        >>> [column.key for column in metric.columns(metric, protocol)]
        ['average_drop@100', 'average_drop@30']
    """

    name: str
    title: str
    better: Literal["higher", "lower", "neither"]
    unit: str
    paper: str
    measures: str
    cost: str
    function: Function
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    for_each: str | None = None
    maps: Literal["raw", "scaled"] = "raw"
    also: Mapping[str, Function] = dataclasses.field(default_factory=dict)
    curve: Curve | None = None
    columns: Callable[[Metric, Protocol], tuple[Column, ...]] = own_columns
    columns_read: tuple[str, ...] = ()
    bounds: tuple[float, float] = (0.0, 100.0)
    per_class: bool = False
    gated: bool = False
    judged: Metric | None = None
    curve_over: str = "% of the pixels"

    def __post_init__(self) -> None:
        _check(self)

    @functools.cached_property
    def parameters(self) -> frozenset[str]:
        """Names of everything that its functions take."""
        functions = (self.function, self.curve, *self.also.values())
        return frozenset(name for f in functions if f for name in _parameters(f))

    @property
    def needs(self) -> frozenset[Needs]:
        """``"probabilities"``: passes of the network; ``"explain"``: maps of changed images or of
        other classes; ``"targets"``: annotated data."""
        return frozenset(need for need in _NEEDS if need in self.parameters)

    @property
    def reads(self) -> frozenset[str]:
        """The settings of the protocol on which its numbers depend."""
        given = {self.options.get(name, name) for name in self.parameters - set(self.fixed)}
        scaling = {"map_scaling", "upsampling"} if self.maps == "scaled" else set()
        return frozenset((given & SETTINGS) | scaling | set(self.columns_read))

    def measure(self, batch: MeasuringBatch, protocol: Protocol) -> dict[str, Tensor]:
        """Call the functions with what they ask for.

        Returns:
            Key to values of every image, (B,) each: those of ``columns``, and those of ``also``
            and ``curve``.
        """
        if self.judged:
            found = self.judged.measure(batch.by_judge(), protocol)
            return {f"{JUDGED}{key}": values for key, values in found.items()}
        given = self._given(batch, protocol)
        values: dict[str, Tensor] = {}
        for key, chosen in self._calls(protocol):
            values |= _by_key(key, _call(self.function, {**given, **chosen}))
        for key, function in self.also.items():
            values |= _by_key(key, _call(function, given))
        points = _call(self.curve, given) if self.curve else {}
        return values | {
            f"{self.name}.curve@{percent(share)}": heights for share, heights in points.items()
        }

    def _given(self, batch: MeasuringBatch, protocol: Protocol) -> dict[str, Any]:
        settings = {name: getattr(protocol, name) for name in SETTINGS}
        renamed = {name: settings[field] for name, field in self.options.items()}
        given = {**batch.arguments(), **settings, **renamed, **self.fixed}
        if self.maps == "scaled":
            given["maps"] = batch.shared.once(map_values, batch.maps, batch.size, protocol)
        return given

    def _calls(self, protocol: Protocol) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.for_each is None:
            yield self.name, {}
            return
        for share in getattr(protocol, self.options[self.for_each]):
            yield f"{self.name}@{percent(share)}", {self.for_each: share}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _call(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    return function(**{name: given[name] for name in _parameters(function) if name in given})


def _by_key(key: str, found: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        return {f"{key}.{name}": values for name, values in found.items()}
    return {key: found}


def _check(metric: Metric) -> None:
    """Refuse at import what would fail in the middle of an evaluation."""
    for field in (*metric.options.values(), *metric.columns_read):
        _known(metric, "setting", field, SETTINGS)
    each = () if metric.for_each is None else (metric.for_each,)
    for name in (*metric.options, *metric.fixed, *each):
        _known(metric, "parameter", name, metric.parameters)
    for name in each:
        _known(metric, "option", name, metric.options)
    given = ARGUMENTS | SETTINGS | set(metric.options) | set(metric.fixed)
    for function in filter(None, (metric.function, metric.curve, *metric.also.values())):
        for name, parameter in _parameters(function).items():
            if parameter.default is inspect.Parameter.empty:
                _known(metric, "parameter without default", name, given)


def _known(metric: Metric, what: str, name: str, allowed: Any) -> None:
    if name not in allowed:
        raise TtameError(
            f"metric {metric.name}: no {what} '{name}'", allowed=", ".join(sorted(allowed))
        )
