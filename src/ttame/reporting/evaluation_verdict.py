"""The answer of an evaluation for somebody who has to choose a method, in a few sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from ttame.reporting.evaluation_standing import (
    comparing_columns,
    is_baseline,
    method_titles,
    score_of,
    standing,
)
from ttame.reporting.written_values import enumeration
from ttame.results.evaluation import ColumnFacts, Evaluation, MethodCost, MethodScores

MOST_NAMED = 4
"""Methods that a sentence names; of more, it counts the others."""

MOST_PHOTOS = 10_000
"""Nobody who asks how many more photos are needed means more than this."""

_ARE_COMPUTED = (
    "The number of {photos} is computed from the mean m and the standard deviation s of the paired "
    "differences between two methods: n = ((z(1 − 0.05 / (2k)) + z(0.8)) s / m)², for a two-sided "
    "test at 5\u00a0% that is corrected for k comparisons, with a power of 80\u00a0%. It supposes "
    "that the differences stay as they are on these {photos}."
)


def photos_are_computed(evaluation: Evaluation) -> str:
    """How the number of photos, or of texts, is computed that a verdict names."""
    return _ARE_COMPUTED.format(photos=evaluation.called.photos)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to choose, in sentences.

    Attributes:
        sentences: for a reader who knows no statistics.
        recommended: name of the method to use; empty where the numbers recommend none.
        among_best: name of each method to the number of measures in which it is the best or not
            significantly different from the best.
        measures: how many measures compare the methods.
        counts_photos: whether a sentence says how many more photos are needed.
    """

    sentences: tuple[str, ...]
    recommended: str
    among_best: Mapping[str, int]
    measures: int
    counts_photos: bool = False


def evaluation_verdict(evaluation: Evaluation, titles: Mapping[str, str] | None = None) -> Verdict:
    """Say which methods are good, which is the one to use, and whether more photos would help.

    A method is *among the best* of a measure if it is the best or the paired test finds no
    significant difference from the best. The method to use is the one that is among the best in
    most measures; of several such, the one that costs least. Baselines and methods that fail the
    randomisation check are never recommended.

    Args:
        evaluation: the numbers.
        titles: name of each method to what the sentences call it; the page's titles if not given.

    Example:
        >>> evaluation = Evaluation("a network", "", "photos", "", 0, (), "t-tame", "0" * 12, {},
        ...     (), (), (), {}, (), "", "2026-11-21")
        >>> evaluation_verdict(evaluation).sentences
        ('No measure has numbers of two methods, so nothing can be compared.',)
    """
    called = titles or method_titles(evaluation)
    columns = comparing_columns(evaluation)
    counts = {method.name: _among_best(method, columns) for method in evaluation.methods}
    if not columns:
        sentence = "No measure has numbers of two methods, so nothing can be compared."
        return Verdict((sentence,), "", counts, 0)
    chosen = _recommended(evaluation, counts)
    top = sorted(
        (
            method
            for method in evaluation.methods
            if not is_baseline(method) and 2 * counts[method.name] > len(columns)
        ),
        key=lambda method: (-counts[method.name], method is not chosen),
    )
    photos = _more_photos(evaluation, top, columns)
    sentences = [
        f"On {_these_photos(evaluation)}, {_group(evaluation, top, columns, called)}"
        f"{_clearly_worse(evaluation, columns, called)}.",
        *_recommendation(evaluation, chosen, counts, columns, called),
        *([photos] if photos else []),
    ]
    return Verdict(
        tuple(sentences), chosen.name if chosen else "", counts, len(columns), bool(photos)
    )


def cost_in_words(cost: MethodCost) -> str:
    """What a method's maps cost, as a sentence says it.

    Example:
        >>> cost_in_words(MethodCost(1, 0, 0, 7.4, 20.0))
        'one pass'
        >>> cost_in_words(MethodCost(50, 50, 0, 700.0, 90.0))
        '100 passes'
    """
    whole = sum(number for number in (cost.forward, cost.backward) if math.isfinite(number))
    passes = round(whole)
    if passes == 1:
        return "one pass"
    return f"{passes:,} passes".replace(",", " ") if passes else "no pass"


def _among_best(method: MethodScores, columns: Sequence[ColumnFacts]) -> int:
    return sum(bool(standing(score_of(method, column.key))) for column in columns)


def _behind(method: MethodScores, columns: Sequence[ColumnFacts]) -> int:
    """In how many measures the method is significantly worse than the best."""
    scores = [score_of(method, column.key) for column in columns]
    return sum(score is not None and score.rank > 0 and not standing(score) for score in scores)


def _these_photos(evaluation: Evaluation) -> str:
    called = evaluation.called
    if evaluation.images == 1:
        return f"this one {called.photo}"
    return f"these {evaluation.images} {called.photos}"


def _group(
    evaluation: Evaluation,
    top: Sequence[MethodScores],
    columns: Sequence[ColumnFacts],
    called: Mapping[str, str],
) -> str:
    if not top:
        return f"no method is among the best in more than half of the {len(columns)} measures"
    if len(top) > 1:
        same = all(_among_best(method, columns) == len(columns) for method in top)
        where = f"most of the {len(columns)} measures" if not same else _any_measure(len(columns))
        return (
            f"{_named(top, called)} are not significantly different from the best method in {where}"
        )
    alone = sum(_wins_alone(evaluation, top[0], column) for column in columns)
    name = called[top[0].name]
    if 2 * alone > len(columns):
        where = _measures(alone, len(columns))
        return f"{name} is significantly better than every other method in {where}"
    where = _measures(_among_best(top[0], columns), len(columns))
    return f"only {name} is among the best in more than half of the measures: in {where}"


def _measures(count: int, all_of_them: int) -> str:
    if all_of_them == 1:
        return "the only measure"
    if all_of_them == count == 2:
        return "both measures"
    return f"all {count} measures" if count == all_of_them else f"{count} of {all_of_them} measures"


def _any_measure(count: int) -> str:
    """All of the measures, in a sentence that denies something."""
    if count == 1:
        return "the only measure"
    return "either of the two measures" if count == 2 else f"any of the {count} measures"


def _wins_alone(evaluation: Evaluation, method: MethodScores, column: ColumnFacts) -> bool:
    others = [other for other in evaluation.methods if other is not method]
    return standing(score_of(method, column.key)) == "best" and not any(
        standing(score_of(other, column.key)) for other in others
    )


def _clearly_worse(
    evaluation: Evaluation, columns: Sequence[ColumnFacts], called: Mapping[str, str]
) -> str:
    """Those that are significantly worse than the best in most measures, the worst first."""
    behind = [
        method for method in evaluation.methods if 2 * _behind(method, columns) > len(columns)
    ]
    if not behind:
        return ""
    behind.sort(key=lambda method: -_behind(method, columns))
    return f"; {_named(behind, called)} {'is' if len(behind) == 1 else 'are'} clearly worse"


def _recommended(evaluation: Evaluation, counts: Mapping[str, int]) -> MethodScores | None:
    """The method to use: better than every baseline, not failing the check, and cheap."""
    mark = max((counts[each.name] for each in evaluation.methods if is_baseline(each)), default=0)
    candidates = [
        method
        for method in evaluation.methods
        if not is_baseline(method)
        and counts[method.name] > mark
        and (method.sanity is None or method.sanity.passed)
    ]

    def order(method: MethodScores) -> tuple[float, ...]:
        costs = (method.cost.forward + method.cost.backward, method.cost.milliseconds)
        return -counts[method.name], *(math.inf if math.isnan(cost) else cost for cost in costs)

    return min(candidates, key=order, default=None)


def _recommendation(
    evaluation: Evaluation,
    chosen: MethodScores | None,
    counts: Mapping[str, int],
    columns: Sequence[ColumnFacts],
    called: Mapping[str, str],
) -> Iterator[str]:
    if chosen is not None:
        where = _measures(counts[chosen.name], len(columns))
        yield (
            f"For maps like these use {called[chosen.name]}: it is among the best in {where} and "
            f"costs {cost_in_words(chosen.cost)}."
        )
        return
    baselines = [each for each in evaluation.methods if is_baseline(each)]
    strongest = max(baselines, key=lambda each: counts[each.name], default=None)
    if strongest is not None and counts[strongest.name]:
        yield (
            f"These numbers recommend no method: {called[strongest.name]}, which does not look at "
            f"the network, is among the best in {_measures(counts[strongest.name], len(columns))} "
            "itself."
        )


def _more_photos(
    evaluation: Evaluation, top: Sequence[MethodScores], columns: Sequence[ColumnFacts]
) -> str:
    """How many more photos would separate the methods of the group; empty if nobody can say."""
    if len(top) < 2:
        return ""
    found = [
        (more, column.title) for column in columns if (more := _photos_for(top, column)) is not None
    ]
    if not found:
        return ""
    more, title = min(found)
    photos = evaluation.called.photos
    if more > MOST_PHOTOS:
        return (
            f"Their differences are so small that {MOST_PHOTOS:,} more {photos} would hardly "
            "separate them.".replace(",", " ")
        )
    fewest = ", the measure that needs fewest" if len(found) > 1 else ""
    number = f"{_rounded(more):,}".replace(",", " ")
    return f"About {number} more {photos} would separate them in {title}{fewest}."


def _photos_for(top: Sequence[MethodScores], column: ColumnFacts) -> int | None:
    """How many more photos separate all of the group from the best of a column."""
    scores = [score_of(method, column.key) for method in top]
    if not any(standing(score) == "best" for score in scores):
        return None
    level = [score for score in scores if score and standing(score) == "level"]
    if not level or any(score.images_needed <= score.images for score in level):
        return None
    return max(score.images_needed - score.images for score in level)


def _rounded(photos: int) -> int:
    """Upwards to two digits: the estimate is no more exact than that.

    Example:
        >>> _rounded(57), _rounded(1234)
        (57, 1300)
    """
    step: int = 10 ** max(0, len(str(photos)) - 2)
    return -(-photos // step) * step


def _named(methods: Sequence[MethodScores], called: Mapping[str, str]) -> str:
    names = [called[method.name] for method in methods]
    if len(names) > MOST_NAMED + 1:
        names = [*names[:MOST_NAMED], f"{len(names) - MOST_NAMED} others"]
    return enumeration(names)
