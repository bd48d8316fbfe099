"""The page of an evaluation: one file that opens offline and asks nobody for anything."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, UNSEEN_BRIGHTNESS
from ttame.files.atomic_writing import whole_file
from ttame.reporting.embedded_pictures import legend_gradient
from ttame.reporting.evaluation_answer import evaluation_answer
from ttame.reporting.evaluation_charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    POINTS_RIGHT,
    RIGHT,
    TOP,
    WIDTH,
    cost_chart,
    curve_charts,
    method_styles,
    sparkline,
)
from ttame.reporting.evaluation_gallery import gallery_cards
from ttame.reporting.evaluation_ranking import ranking
from ttame.reporting.evaluation_standing import (
    comparing_columns,
    is_baseline,
    method_titles,
    score_of,
    standing,
)
from ttame.reporting.evaluation_table import column_meanings, table_columns, table_rows
from ttame.reporting.evaluation_verdict import evaluation_verdict, photos_are_computed
from ttame.reporting.page_template import page_template
from ttame.reporting.written_values import in_words
from ttame.results.evaluation import Evaluation, MethodScores
from ttame.results.gallery_photo import GalleryPhoto

MANY_METHODS = 12
"""More lines than this in one chart are a thicket, unless some stand out from the start."""


def write_evaluation_report(
    path: Path | str,
    evaluation: Evaluation,
    gallery: Sequence[GalleryPhoto] = (),
    *,
    command: str = "",
) -> None:
    """Write everything that an evaluation found as one HTML file, whole or not at all.

    Args:
        path: the path of the file, such as ``report.html``.
        evaluation: the numbers.
        gallery: photos with the maps of every method, shown in this order: those on which methods
            disagree most belong first.
        command: that repeats the run; if not given, one is made from the evaluation.

    Raises:
        OutputError: the disk is full or the place is not writable.

    Example:
        >>> import tempfile
        >>> evaluation = Evaluation("a network", "", "photos", "", 0, (), "t-tame", "0" * 12, {},
        ...     (), (), (), {}, (), "", "2026-11-21")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_evaluation_report(Path(folder) / "report.html", evaluation)
        ...     (Path(folder) / "report.html").read_text()[:15]
        '<!doctype html>'
    """
    content = _content(evaluation, gallery, command or repeating_command(evaluation))
    with (
        whole_file(path) as temporary,
        # Names may hold bytes that are not UTF-8.
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        # Piece by piece: the pictures of one photo are in memory at a time.
        for piece in page_template("evaluation_report.html").generate(content):
            file.write(piece)


def repeating_command(evaluation: Evaluation) -> str:
    """The command line that measures the same again.

    Options of single methods are not part of it; the report lists them.
    """
    words = [
        "ttame", "evaluate",
        "--model", evaluation.classifier,
        "--data" if evaluation.kind == "images" else "--text-data", evaluation.data,
        "--methods", ",".join(method.name for method in evaluation.methods),
        "--protocol", evaluation.protocol,
        "--limit", str(evaluation.images + len(evaluation.skipped)),
        "--out", "evaluation",
    ]  # fmt: skip
    return shlex.join(words)


def _content(
    evaluation: Evaluation, gallery: Sequence[GalleryPhoto], command: str
) -> dict[str, Any]:
    verdict = evaluation_verdict(evaluation)
    return {
        "evaluation": evaluation,
        "verdict": verdict,
        "ranking": ranking(evaluation, verdict),
        "photos_are_computed": photos_are_computed(evaluation),
        "called": evaluation.called,
        "answer": evaluation_answer(evaluation),
        "methods": _methods(evaluation),
        "families": list(dict.fromkeys(method.family for method in evaluation.methods)),
        "columns": table_columns(evaluation),
        "rows": table_rows(evaluation),
        "meanings": column_meanings(evaluation.columns),
        "has_published": any(method.published for method in evaluation.methods),
        "many": len(evaluation.methods) > MANY_METHODS,
        "highlighted": _highlighted(evaluation),
        "curves": curve_charts(evaluation),
        "cost": cost_chart(evaluation),
        "plot": {
            "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT,
            "points_right": POINTS_RIGHT, "top": TOP, "bottom": BOTTOM,
        },
        "sanity": _sanity(evaluation),
        "n_photos": len(gallery),
        "photos": gallery_cards(evaluation, gallery, DEFAULT_SCALE),
        "gradient": legend_gradient(DEFAULT_SCALE),
        "opacity": round(100 * DEFAULT_OPACITY),
        "unseen_brightness": UNSEEN_BRIGHTNESS,
        "settings": [(name.replace("_", " "), in_words(value))
                     for name, value in evaluation.protocol_settings.items()],
        "command": command,
    }  # fmt: skip


def _methods(evaluation: Evaluation) -> list[dict[str, Any]]:
    titles = method_titles(evaluation)
    styles = method_styles(evaluation.methods)
    return [
        {
            "number": number,
            "name": method.name,
            "title": titles[method.name],
            "family": method.family,
            "style": style,
            "options": in_words(method.options),
        }
        for number, (method, style) in enumerate(zip(evaluation.methods, styles, strict=True))
    ]


def _highlighted(evaluation: Evaluation) -> list[int]:
    """Which of many methods stand out at first: those that are best somewhere, and baselines."""
    if len(evaluation.methods) <= MANY_METHODS:
        return []
    columns = comparing_columns(evaluation)
    return [
        number
        for number, method in enumerate(evaluation.methods)
        if is_baseline(method)
        or any(standing(score_of(method, column.key)) == "best" for column in columns)
    ]


def _sanity(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One record for each method that was checked, those that fail first."""
    titles = method_titles(evaluation)
    records = [
        _sanity_record(number, method, titles[method.name])
        for number, method in enumerate(evaluation.methods)
        if method.sanity is not None
    ]
    return sorted(records, key=lambda record: bool(record["passed"]))


def _sanity_record(number: int, method: MethodScores, title: str) -> dict[str, Any]:
    result = method.sanity
    assert result is not None  # the caller asks for nothing else
    return {
        "number": number,
        "title": title,
        "family": method.family,
        "passed": result.passed,
        "similarity": f"{result.similarity:.2f}".replace("-", "−").replace("nan", "–"),
        "line": sparkline(result.steps),
        "steps": ", ".join(
            f"{layers} layers: {similarity:.2f}" for layers, similarity in result.steps
        ),
    }
