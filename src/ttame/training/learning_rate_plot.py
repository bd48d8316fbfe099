"""The plot of a learning-rate range test, as one SVG file without anything outside it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 64, 64  # margins around the axes, in pixels

_STYLE = """
  .paper { fill: #ffffff } .text { fill: #1f2328; font: 14px sans-serif }
  .small { font-size: 12px } .title { font-size: 16px; font-weight: bold }
  .middle { text-anchor: middle } .end { text-anchor: end }
  .axis { stroke: #57606a; fill: none } .grid { stroke: #d8dee4 }
  .raw { stroke: #6e7781; fill: none; stroke-width: 1 }
  .smooth { stroke: #0550ae; fill: none; stroke-width: 2.5; stroke-linejoin: round }
  .mark { stroke: #a8460f; stroke-width: 2; stroke-dasharray: 6 4 } .mark-text { fill: #a8460f }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .text { fill: #e6edf3 }
    .axis { stroke: #9198a1 } .grid { stroke: #30363d }
    .raw { stroke: #6e7681 } .smooth { stroke: #79c0ff }
    .mark { stroke: #ffa657 } .mark-text { fill: #ffa657 }
  }
"""


@dataclasses.dataclass(frozen=True)
class _Axes:
    """From rates and losses to pixels."""

    lowest_rate: float
    highest_rate: float
    bottom: float
    top: float

    def x(self, rate: float) -> float:
        span = math.log(self.highest_rate / self.lowest_rate)
        share = math.log(rate / self.lowest_rate) / span
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, loss: float) -> float:
        share = (loss - self.bottom) / (self.top - self.bottom)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def line(self, rates: Sequence[float], losses: Sequence[float], kind: str) -> str:
        points = " ".join(
            f"{self.x(rate):.1f},{self.y(loss):.1f}"
            for rate, loss in zip(rates, losses, strict=True)
        )
        return f'<polyline class="{kind}" clip-path="url(#inside)" points="{points}"/>'


def learning_rate_svg(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed_losses: Sequence[float],
    suggested_rate: float | None,
    reason: str,
) -> str:
    """Draw loss over learning rate; legible on light and on dark pages.

    Args:
        rates: growing; drawn on a logarithmic axis.
        losses: one for each.
        smoothed_losses: one for each.
        suggested_rate: marked, if there is one.
        reason: said below the title, if there is one.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img">',
        "<title>Learning-rate range test</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        _text(_LEFT, 24, "Learning-rate range test", "title"),
        _text(_LEFT, 46, _subtitle(suggested_rate, reason), "small"),
    ]
    axes = _axes(rates, losses, smoothed_losses)
    parts += _horizontal_axis(axes)
    parts += _vertical_axis(axes)
    parts += [
        axes.line(rates, losses, "raw"),
        axes.line(rates, smoothed_losses, "smooth"),
        *_legend(),
    ]
    if suggested_rate is not None:
        x = axes.x(suggested_rate)
        parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM, "mark"))
        to_the_left = x > _WIDTH / 2
        parts.append(
            _text(
                x - 8 if to_the_left else x + 8,
                _HEIGHT - _BOTTOM - 12,
                f"suggested: {suggested_rate:.1e}",
                "mark-text end" if to_the_left else "mark-text",
            )
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _subtitle(suggested_rate: float | None, reason: str) -> str:
    if suggested_rate is None:
        return f"no suggestion: {reason}"
    return f"suggested where the smoothed loss falls fastest; {reason}".removesuffix("; ")


def _axes(
    rates: Sequence[float], losses: Sequence[float], smoothed_losses: Sequence[float]
) -> _Axes:
    if not losses:
        return _Axes(1e-6, 1.0, 0.0, 1.0)
    # A loss that explodes at the end would squeeze what matters into the lowest pixels.
    bottom = min(*losses, *smoothed_losses)
    middle = statistics.median(losses)
    top = min(max(losses), middle + max(abs(middle), middle - bottom))
    margin = 0.05 * (top - bottom) or 0.5
    highest = rates[-1] if len(rates) > 1 else rates[0] * 10
    return _Axes(rates[0], highest, bottom - margin, top + margin)


def _horizontal_axis(axes: _Axes) -> list[str]:
    baseline = _HEIGHT - _BOTTOM
    parts = [
        f'<clipPath id="inside"><rect x="{_LEFT}" y="{_TOP}" '
        f'width="{_WIDTH - _LEFT - _RIGHT}" height="{baseline - _TOP}"/></clipPath>',
        _line(_LEFT, baseline, _WIDTH - _RIGHT, baseline, "axis"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 16, "learning rate (log scale)", "middle"),
    ]
    for rate in _rate_ticks(axes.lowest_rate, axes.highest_rate):
        x = axes.x(rate)
        parts.append(_line(x, _TOP, x, baseline, "grid"))
        parts.append(_text(x, baseline + 20, f"{rate:.0e}", "small middle"))
    return parts


def _vertical_axis(axes: _Axes) -> list[str]:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts = [
        _line(_LEFT, _TOP, _LEFT, _HEIGHT - _BOTTOM, "axis"),
        f'<text class="text middle" transform="translate(20 {middle:.0f}) rotate(-90)">'
        "training loss (no unit)</text>",
    ]
    ticks, decimals = _loss_ticks(axes.bottom, axes.top)
    for loss in ticks:
        y = axes.y(loss)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, "grid"))
        parts.append(_text(_LEFT - 8, y + 4, f"{loss:.{decimals}f}", "small end"))
    return parts


def _legend() -> list[str]:
    parts = []
    for place, (kind, name) in enumerate([("raw", "each step"), ("smooth", "smoothed")]):
        x = _WIDTH - _RIGHT - 210 + place * 112
        parts.append(_line(x, 20, x + 24, 20, kind))
        parts.append(_text(x + 30, 24, name, "small"))
    return parts


def _rate_ticks(lowest: float, highest: float) -> list[float]:
    """Whole decades; in a range without two of them 1, 2, 3 … 9 times a decade."""
    tolerance = 1e-9
    exponents = range(
        math.ceil(math.log10(lowest) - tolerance), math.floor(math.log10(highest) + tolerance) + 1
    )
    if len(exponents) > 1:
        return [10.0**exponent for exponent in exponents]
    first = math.floor(math.log10(lowest))
    steps = [digit * 10.0**exponent for exponent in (first, first + 1) for digit in range(1, 10)]
    return [step for step in steps if lowest * (1 - tolerance) <= step <= highest * (1 + tolerance)]


def _loss_ticks(bottom: float, top: float) -> tuple[list[float], int]:
    """Four to eight round numbers, and how many decimals they need."""
    magnitude = 10.0 ** math.floor(math.log10((top - bottom) / 4))
    spacing = next(
        magnitude * factor
        for factor in (1, 2, 2.5, 5, 10)
        if (top - bottom) / factor <= 8 * magnitude
    )
    first, last = math.ceil(bottom / spacing), math.floor(top / spacing)
    decimals = max(0, 1 - math.floor(math.log10(spacing)))
    return [number * spacing for number in range(first, last + 1)], decimals


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="text {kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'
