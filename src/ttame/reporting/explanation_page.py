"""The page of a report: one HTML file that needs nothing else and asks nobody for anything."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TextIO

import jinja2

from ttame.drawing.heatmap_overlay import UNSEEN_BRIGHTNESS
from ttame.preprocessing import Preprocessing
from ttame.reporting.embedded_pictures import legend_gradient
from ttame.reporting.record_spool import RecordSpool


def write_page(
    file: TextIO,
    about: Mapping[str, Any],
    preprocessing: Preprocessing,
    opacity: float,
    entries: RecordSpool,
    skipped: RecordSpool,
) -> None:
    """Write the page piece by piece: one image is in memory at a time.

    Args:
        file: open for writing.
        about: title, method, provenance and colour scale, as in ``explanations.json``.
        preprocessing: of the classifier, for the footer.
        opacity: where the opacity slider starts, in [0, 1].
        entries: one record per image, from ``ExplainedImage.page_entry``.
        skipped: name, heading and reason of each image that was not explained.
    """
    pieces = _template().generate(
        title=about["title"],
        classifier=_classifier_name(about["provenance"]),
        method=about["method"] or "not named",
        provenance=_facts(about["provenance"]),
        preprocessing=preprocessing.in_words(),
        gradient=legend_gradient(about["colour_scale"]),
        opacity=round(100 * opacity),
        unseen_brightness=UNSEEN_BRIGHTNESS,
        n_images=len(entries),
        images=entries,
        n_skipped=len(skipped),
        skipped=skipped,
    )
    for piece in pieces:
        file.write(piece)


def _classifier_name(provenance: Mapping[str, Any]) -> str:
    classifier = provenance.get("classifier", "")
    if isinstance(classifier, Mapping):
        classifier = classifier.get("name", "")
    return str(classifier) or "not named"


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each entry, as people read them."""
    return [(name.replace("_", " "), _in_words(value)) for name, value in provenance.items()]


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_in_words(part) for part in value)
    return str(value)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ttame.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("explanation_report.html")
