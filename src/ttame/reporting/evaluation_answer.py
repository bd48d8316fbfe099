"""What an evaluation found, in sentences that its numbers carry."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

from ttame.reporting.evaluation_standing import (
    comparing_columns,
    falls_behind,
    is_baseline,
    method_titles,
    mute_columns,
    score_of,
    standing,
)
from ttame.reporting.written_values import enumeration, number_writer
from ttame.results.evaluation import ColumnFacts, Evaluation, MethodScores


@dataclasses.dataclass(frozen=True)
class ColumnAnswer:
    """What one column says.

    Attributes:
        title: the title of the column.
        best: the best methods with their number; several if they share the first rank.
        level: those that are not significantly different from the best, with commas; may be empty.
        behind: baseline to the methods behind it, for each baseline that has such.
    """

    title: str
    best: str
    level: str
    behind: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """The sentences of the first paragraph, and what stands behind them column by column."""

    sentences: tuple[str, ...]
    columns: tuple[ColumnAnswer, ...]


def evaluation_answer(evaluation: Evaluation) -> Answer:
    """Say which methods are best, level with the best, and behind the baselines.

    "Level" means that the paired test finds no significant difference from the best; "behind" a
    baseline means a worse mean and intervals that do not overlap.
    """
    columns = comparing_columns(evaluation)
    titles = method_titles(evaluation)
    if not columns:
        sentences = ["No column has numbers of two methods, so nothing can be compared."]
    else:
        sentences = [
            _winners(evaluation, columns, titles),
            _never_behind(evaluation, columns, titles),
            *_behind_baselines(evaluation, columns, titles),
            *_strong_baselines(evaluation, columns, titles),
        ]
    equal = [column.title for column in mute_columns(evaluation)]
    if equal:
        sentences.append(
            f"All methods have the same number in {enumeration(equal)}, which says nothing."
        )
    sentences += _failed_sanity(evaluation, titles)
    sentences.append(_scope(evaluation))
    return Answer(
        tuple(sentences),
        tuple(_column_answer(evaluation, column, titles) for column in columns),
    )


def _winners(evaluation: Evaluation, columns: list[ColumnFacts], titles: Mapping[str, str]) -> str:
    wins: Counter[str] = Counter()
    for column in columns:
        wins.update(titles[method.name] for method in _best(evaluation, column))
    everywhere = [title for title, count in wins.items() if count == len(columns)]
    if everywhere:
        verb = "is" if len(everywhere) == 1 else "share the first rank and are"
        where = "the only column" if len(columns) == 1 else f"all {len(columns)} columns"
        return f"{enumeration(everywhere)} {verb} best in {where}."
    if not wins:
        return "No column has a best method."
    counts = [f"{title} in {count}" for title, count in wins.most_common()]
    counts[0] = counts[0].replace(" in ", " is best in ", 1)
    return f"No method is best everywhere: of {len(columns)} columns {enumeration(counts)}."


def _never_behind(
    evaluation: Evaluation, columns: list[ColumnFacts], titles: Mapping[str, str]
) -> str:
    found = [
        titles[method.name]
        for method in evaluation.methods
        if all(standing(score_of(method, column.key)) for column in columns)
    ]
    if not found:
        return "Every method is significantly worse than the best in at least one column."
    verb = "is" if len(found) == 1 else "are"
    return (
        f"{enumeration(found)} {verb} the best, or not significantly different from the best, "
        "in every column (paired test at 5\u00a0%, corrected for the number of methods)."
    )


def _behind_baselines(
    evaluation: Evaluation, columns: list[ColumnFacts], titles: Mapping[str, str]
) -> Iterator[str]:
    baselines = [titles[method.name] for method in evaluation.methods if is_baseline(method)]
    if not baselines:
        yield "No baseline was measured along with the methods."
        return
    found: dict[str, dict[str, list[str]]] = {}
    for column in columns:
        for baseline, methods in _behind(evaluation, column):
            behind = found.setdefault(titles[baseline.name], {})
            for method in methods:
                behind.setdefault(titles[method.name], []).append(column.title)
    if not found:
        named = enumeration(baselines)
        yield f"No method is worse than {named} with intervals that do not overlap."
    for title, behind in found.items():
        listed = [f"{method} in {_counted(places, columns)}" for method, places in behind.items()]
        yield (
            f"Worse than {title}, a baseline, with intervals that do not overlap: "
            f"{'; '.join(listed)}."
        )


def _strong_baselines(
    evaluation: Evaluation, columns: list[ColumnFacts], titles: Mapping[str, str]
) -> Iterator[str]:
    for method in evaluation.methods:
        if not is_baseline(method):
            continue
        places = [column.title for column in columns if standing(score_of(method, column.key))]
        if places:
            yield (
                f"{titles[method.name]}, a baseline that does not look at the network, is the "
                f"best, or not significantly different from it, in {_counted(places, columns)}."
            )


def _failed_sanity(evaluation: Evaluation, titles: Mapping[str, str]) -> Iterator[str]:
    # A baseline does not look at the network and must fail: that says nothing about it.
    checked = [method for method in evaluation.methods if method.sanity and not is_baseline(method)]
    failed = [
        titles[method.name] for method in checked if method.sanity and not method.sanity.passed
    ]
    if failed:
        verb = "fails" if len(failed) == 1 else "fail"
        yield (
            f"{enumeration(failed)} {verb} the randomisation check: the maps hardly change when "
            "the network's weights are replaced by random ones."
        )
    elif checked:
        yield "Every method that was checked passes the randomisation check, baselines aside."


def _scope(evaluation: Evaluation) -> str:
    called = evaluation.called
    one = evaluation.images == 1
    images = f"1 {called.image}" if one else f"{evaluation.images} {called.images}"
    return f"All of this holds for {images}, this classifier and this protocol."


def _column_answer(
    evaluation: Evaluation, column: ColumnFacts, titles: Mapping[str, str]
) -> ColumnAnswer:
    best = _best(evaluation, column)
    scores = [score_of(method, column.key) for method in evaluation.methods]
    write = number_writer([score.value for score in scores if score], column.unit)
    value = write(best[0].scores[column.key].value) if best else ""
    level = [
        titles[method.name]
        for method in evaluation.methods
        if standing(score_of(method, column.key)) == "level"
    ]
    return ColumnAnswer(
        title=column.title,
        best=f"{enumeration(titles[method.name] for method in best)} "
        f"({value}{' ' if column.unit else ''}{column.unit})"
        if best
        else "none",
        level=", ".join(level),
        behind=tuple(
            (titles[baseline.name], ", ".join(titles[method.name] for method in methods))
            for baseline, methods in _behind(evaluation, column)
        ),
    )


def _best(evaluation: Evaluation, column: ColumnFacts) -> list[MethodScores]:
    return [
        method for method in evaluation.methods if standing(score_of(method, column.key)) == "best"
    ]


def _behind(
    evaluation: Evaluation, column: ColumnFacts
) -> Iterator[tuple[MethodScores, list[MethodScores]]]:
    """Each baseline that leaves methods behind in a column, with those methods."""
    for baseline in filter(is_baseline, evaluation.methods):
        mark = score_of(baseline, column.key)
        if mark is None:
            continue
        methods = []
        for method in evaluation.methods:
            score = score_of(method, column.key)
            if score and not is_baseline(method) and falls_behind(score, mark, column):
                methods.append(method)
        if methods:
            yield baseline, methods


def _counted(places: list[str], columns: list[ColumnFacts]) -> str:
    """One column by its title, more of them by their number."""
    if len(places) == 1:
        return places[0]
    return "every column" if len(places) == len(columns) else f"{len(places)} columns"
