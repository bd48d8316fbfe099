"""The one picture of an evaluation: methods on a line with their intervals, cost next to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ttame.reporting.chart_axes import Axis, linear_axis
from ttame.reporting.evaluation_standing import (
    comparing_columns,
    is_baseline,
    method_titles,
    score_of,
    standing,
)
from ttame.reporting.evaluation_verdict import Verdict, cost_in_words
from ttame.reporting.written_values import number_writer
from ttame.results.evaluation import ColumnFacts, Evaluation, MethodScores, Score

_STANDS = {
    "best": "the best",
    "level": "not significantly different from the best",
    "": "significantly worse than the best",
}


def ranking(evaluation: Evaluation, verdict: Verdict) -> list[dict[str, Any]]:
    """One record per measure that compares methods, with a row per method, the best on top."""
    return [_measure(evaluation, column, verdict) for column in comparing_columns(evaluation)]


def milliseconds_in_words(milliseconds: float) -> str:
    """Time per photo, in the unit that people think in.

    Example:
        >>> [milliseconds_in_words(time) for time in (0.05, 7.43, 830.0, 5204.0)]
        ['0.05 ms', '7 ms', '830 ms', '5.2 s']
    """
    if milliseconds >= 1000:
        return (
            f"{milliseconds / 1000:.2g} s" if milliseconds < 1e5 else f"{milliseconds / 1e3:.0f} s"
        )
    return f"{milliseconds:.0f} ms" if milliseconds >= 1 else f"{milliseconds:.1g} ms"


def _measure(evaluation: Evaluation, column: ColumnFacts, verdict: Verdict) -> dict[str, Any]:
    shown = [
        (number, method, score)
        for number, method in enumerate(evaluation.methods)
        if (score := score_of(method, column.key)) is not None and math.isfinite(score.value)
    ]
    sign = -1 if column.better == "higher" else 1
    shown.sort(key=lambda each: sign * each[2].value)
    ends = [end for _, _, score in shown for end in (score.value, score.low, score.high)]
    axis = linear_axis([end for end in ends if math.isfinite(end)], 0, 100, most_ticks=5)
    titles = method_titles(evaluation)
    write = number_writer([score.value for _, _, score in shown], column.unit)
    rows = []
    for number, method, score in shown:
        unit = f"\u00a0{column.unit}" if column.unit else ""
        rows.append(
            {
                "number": number,
                "title": titles[method.name],
                "family": method.family,
                "baseline": is_baseline(method),
                "recommended": method.name == verdict.recommended,
                "standing": standing(score),
                "stands": _STANDS[standing(score)],
                "value": f"{write(score.value)}{unit}",
                "among": f"{verdict.among_best[method.name]} of {verdict.measures}",
                **_places(score, axis),
                **_cost(method, evaluation.methods),
                "interval": f"{write(score.low)} to {write(score.high)}"
                if math.isfinite(score.low) and math.isfinite(score.high)
                else "",
            }
        )
    return {
        "title": column.title,
        "unit": column.unit,
        "better": column.better,
        "ticks": axis.ticks,
        "rows": rows,
    }


def _places(score: Score, axis: Axis) -> dict[str, str]:
    """Where dot and interval stand, in percent of the line."""
    known = math.isfinite(score.low) and math.isfinite(score.high)
    low, high = (score.low, score.high) if known else (score.value, score.value)
    start, end = axis.place(low), axis.place(high)
    return {
        "start": f"{start:.2f}%",
        "width": f"{end - start:.2f}%",
        "dot": f"{axis.place(score.value):.2f}%",
    }


def _cost(method: MethodScores, methods: Sequence[MethodScores]) -> dict[str, str]:
    """Passes and time in words, and a bar on a logarithmic scale from the cheapest method on."""
    words = cost_in_words(method.cost).replace("one", "1")
    time = method.cost.milliseconds
    if not (math.isfinite(time) and time > 0):
        return {"passes": words, "time": "", "bar": "0%"}
    times = [each.cost.milliseconds for each in methods if each.cost.milliseconds > 0]
    least, most = math.log(min(times)), math.log(max(times))
    share = (math.log(time) - least) / (most - least) if most > least else 1.0
    return {
        "passes": words,
        "time": milliseconds_in_words(time),
        "bar": f"{4 + 96 * share:.0f}%",
    }
