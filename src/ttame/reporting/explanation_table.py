"""``explanations.csv``: a row per photo and explained class, for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ttame.files.record_files import opened_for_text

COLUMNS = (
    "photo", "predicted_class", "predicted_probability", "class", "probability", "rank", "found",
    "method", "has_evidence", "minimum", "maximum", "mean", "map", "overlay",
)  # fmt: skip

_STARTS_OF_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def write_table(path: Path, images: Iterable[Mapping[str, Any]]) -> None:
    """Write the records of ``explanations.json`` as a table, one photo in memory at a time.

    ``found`` says whether the class reaches the threshold where classes do not exclude each other,
    and is empty where exactly one is true. So a photo with only "no" may be "none of them", though
    ``predicted_class`` names the most probable class all the same.

    Names that a spreadsheet would run as a formula get an apostrophe in front.

    Args:
        path: the path of the CSV file.
        images: one record per photo, from ``ExplainedImage.record``.
    """
    with opened_for_text(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for image in images:
            rows.writerows(_rows(image))


def _rows(image: Mapping[str, Any]) -> Iterator[list[Any]]:
    prediction = image["prediction"]
    for described in image["classes"]:
        for method, figures in described["maps"].items():
            yield [
                as_text(image["name"]),
                as_text(prediction["name"]),
                f"{prediction['probability']:.6g}",
                as_text(described["name"]),
                f"{described['probability']:.6g}",
                described["rank"],
                _found(described["index"], prediction.get("found")),
                as_text(method),
                "yes" if figures["has_evidence"] else "no",
                *(f"{figures[name]:.6g}" for name in ("minimum", "maximum", "mean")),
                image["files"]["maps"][method],
                figures["overlay"] or "",
            ]


def _found(index: int, found: list[Mapping[str, Any]] | None) -> str:
    if found is None:
        return ""
    return "yes" if any(one["index"] == index for one in found) else "no"


def as_text(text: str) -> str:
    """Text that a spreadsheet takes for text.

    Example:
        >>> as_text("=1+1"), as_text("cat.jpg")
        ("'=1+1", 'cat.jpg')
    """
    return f"'{text}" if text.startswith(_STARTS_OF_FORMULAS) else text
