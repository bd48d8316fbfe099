"""The picture next to the answer."""

from __future__ import annotations

from tests.reporting import evaluation_material as material
from ttame.reporting.evaluation_ranking import ranking
from ttame.reporting.evaluation_verdict import evaluation_verdict


def test_dots_and_intervals_stand_at_their_values() -> None:
    evaluation = material.realistic()
    measures = ranking(evaluation, evaluation_verdict(evaluation))
    assert [measure["title"] for measure in measures] == [c.title for c in material.COLUMNS[:6]]
    rows = measures[0]["rows"]
    # Average Drop from 19.5 to 46.5 with intervals of 6 %: an axis from 10 to 50.
    assert [tick.label for tick in measures[0]["ticks"]] == ["10", "20", "30", "40", "50"]
    first = rows[0]
    assert (first["title"], first["value"], first["dot"]) == ("T-TAME", "19.5\u00a0%", "23.75%")
    assert first["start"] == f"{(19.5 * 0.94 - 10) / 0.4:.2f}%"
    assert first["width"] == f"{19.5 * 0.12 / 0.4:.2f}%"
    assert first["recommended"] and not any(row["recommended"] for row in rows[1:])
    assert (first["among"], first["passes"], first["time"]) == ("6 of 6", "1 pass", "7 ms")
    values = [float(row["dot"].rstrip("%")) for row in rows]
    assert values == sorted(values)


def test_the_best_is_on_top_where_higher_is_better() -> None:
    evaluation = material.realistic()
    insertion = ranking(evaluation, evaluation_verdict(evaluation))[3]
    assert [row["standing"] for row in insertion["rows"][:2]] == ["best", "level"]
    values = [float(row["dot"].rstrip("%")) for row in insertion["rows"]]
    assert values == sorted(values, reverse=True)


def test_holes_are_left_out() -> None:
    evaluation = material.missing_scores()
    for measure in ranking(evaluation, evaluation_verdict(evaluation)):
        assert "nan" not in str(measure)
        assert len(measure["rows"]) == 7
