"""What an evaluation looks like on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ttame.cli.methods import print_reasons, short_reasons, wide_console

if TYPE_CHECKING:
    from ttame.results.evaluation import ColumnFacts, Evaluation, MethodScores, Score

_TIED = 0.05
"""Corrected p-value from which a method is not significantly different from the best."""

_COLUMN_WIDTH = 13
"""Characters that a column of numbers takes, to know how many stand side by side."""


_COSTS_TAKE = 3
"""Columns of numbers whose place passes and milliseconds take."""


def print_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Print the answer, the table, what both rest on, and where everything lies."""
    from ttame.reporting.evaluation_verdict import evaluation_verdict, photos_are_computed

    console = wide_console()
    verdict = evaluation_verdict(evaluation, {each.name: each.name for each in evaluation.methods})
    console.print(" ".join(verdict.sentences), style="bold", highlight=False)
    console.print()
    console.print(
        f"{evaluation.classifier} on {evaluation.images} {evaluation.called.images} of "
        f"{evaluation.data}, protocol {evaluation.protocol} ({evaluation.protocol_hash})"
    )
    columns = evaluation.columns
    longest = max(len(method.name) for method in evaluation.methods)
    most = max(1, (console.width - min(longest, 30) - 1) // (_COLUMN_WIDTH + 2))
    parts = [columns[start : start + most] for start in range(0, len(columns), most)]
    if not parts or len(parts[-1]) + _COSTS_TAKE > most:
        parts.append(())
    for part in parts:
        console.print()
        console.print(_table(evaluation, part, costs=part is parts[-1]))
    console.print()
    console.print("mean over 95 % bootstrap interval")
    if len(evaluation.methods) > 1:
        console.print(
            "* best, ~ not significantly different from the best (paired test, corrected for "
            f"{len(evaluation.methods)} methods, p ≥ {_TIED:g})"
        )
    if verdict.counts_photos:
        console.print(photos_are_computed(evaluation))
    for note in evaluation.notes:
        console.print(f"note: {note}")
    blank = [f"{m.name} ({m.no_evidence})" for m in evaluation.methods if m.no_evidence]
    if blank:
        console.print(f"maps that are constant, no evidence: {', '.join(blank)}")
    failed = [m.name for m in evaluation.methods if m.sanity and not m.sanity.passed]
    if failed:
        console.print(f"maps that do not depend on the network's weights: {', '.join(failed)}")
    if evaluation.skipped:
        console.print(
            f"{len(evaluation.skipped)} {evaluation.called.photos} were skipped as unreadable"
        )
    print_reasons(console, short_reasons(dict(evaluation.left_out), evaluation.classifier))
    console.print(f"page: {out / 'report.html'}, numbers: {out / 'results.json'}")


def _table(evaluation: Evaluation, columns: Sequence[ColumnFacts], *, costs: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    longest = max(len(method.name) for method in evaluation.methods)
    table.add_column("method", style="bold", overflow="fold", min_width=min(longest, 30))
    for column in columns:
        arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[column.better]
        table.add_column(column.title + arrow, justify="right", max_width=_COLUMN_WIDTH)
    if costs:
        for heading in ("forward", "backward", "ms"):
            table.add_column(heading, justify="right", no_wrap=True)
    for method in _ordered(evaluation):
        cells = [_cell(method, column) for column in columns]
        table.add_row(method.name, *cells, *(_costs(method) if costs else ()))
    return table


def _ordered(evaluation: Evaluation) -> list[MethodScores]:
    """The best in the first column that is better or worse comes first."""
    ranked = [column.key for column in evaluation.columns if column.better != "neither"]

    def place(method: MethodScores) -> int:
        score = method.scores.get(ranked[0]) if ranked else None
        rank = score.rank if score else 0
        return rank or len(evaluation.methods) + 1

    return sorted(evaluation.methods, key=place)


def _cell(method: MethodScores, column: ColumnFacts) -> str:
    score = method.scores.get(column.key)
    if score is None:
        return "–"
    published = method.published.get(column.key)
    beside = "" if published is None else f"\n({published:g} published)"
    low, value, high = (
        _number(number, column.unit) for number in (score.low, score.value, score.high)
    )
    return f"{_mark(score)}{value}\n{low} to {high}{beside}"


def _mark(score: Score) -> str:
    if score.rank == 0:
        return ""
    if score.rank == 1:
        return "* "
    return "~ " if score.p_value >= _TIED else ""


def _number(value: float, unit: str) -> str:
    return f"{value:.1f}" if unit == "%" else f"{value:.3f}"


def _costs(method: MethodScores) -> tuple[str, str, str]:
    cost = method.cost
    forward = f"{cost.forward:.3g}" + (f" + {cost.tail:.0f} tails" if cost.tail >= 0.5 else "")
    return forward, f"{cost.backward:.3g}", f"{cost.milliseconds:.0f}"


def print_metrics() -> None:
    """Print every metric: what it means, its direction, cost and paper."""
    from ttame.metrics.known_metrics import METRICS

    table = Table(box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True, style="bold")
    for heading in ("better", "what the number says", "cost", "paper"):
        table.add_column(heading, overflow="fold")
    for metric in METRICS.values():
        needs = " (needs --annotations)" if "targets" in metric.needs else ""
        better = {"higher": "higher", "lower": "lower", "neither": "–"}[metric.better]
        table.add_row(metric.name, better, metric.measures + needs, metric.cost, metric.paper)
    wide_console().print(table)
    _print_text_metrics()


def _print_text_metrics() -> None:
    from ttame.metrics.texts.known_text_metrics import TEXT_METRICS

    table = Table(box=None, pad_edge=False)
    table.add_column("metric of --text-data", no_wrap=True, style="bold")
    for heading in ("better", "what the number says", "cost", "paper"):
        table.add_column(heading, overflow="fold")
    for metric in TEXT_METRICS.values():
        needs = " (needs rationales)" if metric.needs_rationales else ""
        better = {"higher": "higher", "lower": "lower", "neither": "–"}[metric.better]
        table.add_row(metric.name, better, metric.measures + needs, metric.cost, metric.paper)
    console = wide_console()
    console.print()
    console.print(table)


def print_reproductions() -> None:
    """Print the published comparisons that can be repeated."""
    from ttame.evaluation.reproductions import REPRODUCTIONS

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True, style="bold")
    for heading in ("what", "network", "images", "protocol"):
        table.add_column(heading, overflow="fold")
    for setup in REPRODUCTIONS.values():
        table.add_row(
            setup.name, setup.title, setup.model, f"{setup.images:,} of ImageNet", setup.protocol
        )
    wide_console().print(table)
