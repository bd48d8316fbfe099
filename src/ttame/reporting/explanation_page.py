"""The page of a report: one HTML file that needs nothing else and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ttame.drawing.captions import percent
from ttame.drawing.heatmap_overlay import UNSEEN_BRIGHTNESS
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.embedded_pictures import legend_gradient
from ttame.reporting.page_template import page_template
from ttame.reporting.record_spool import Records
from ttame.reporting.written_values import in_words


def write_page(
    file: TextIO,
    about: Mapping[str, Any],
    preprocessing: Preprocessing,
    opacity: float,
    entries: Records,
    skipped: Records,
) -> None:
    """Write the page piece by piece: one image is in memory at a time.

    Args:
        file: open for writing.
        about: title, methods and colour scale, as in ``explanations.json``.
        preprocessing: of the classifier, for the footer.
        opacity: where the opacity slider starts, in [0, 1].
        entries: one record per image, from ``ExplainedImage.page_entry``.
        skipped: name, heading and reason of each image that was not explained.
    """
    methods = about["methods"]
    shared = _shared_facts([method["provenance"] for method in methods])
    pieces = page_template("explanation_report.html").generate(
        title=about["title"],
        classifier=_classifier_name(shared),
        methods=[
            {
                "name": method["name"] or "not named",
                "title": method["title"] or "not named",
                "facts": _own_facts(method["provenance"], shared),
            }
            for method in methods
        ],
        several=len(methods) > 1,
        threshold=percent(about["threshold"]) if "threshold" in about else "",
        of_pixels=[method["title"] for method in methods if method["drawn_as"] == "pixels"],
        left_out=[(name, reason) for name, reason in about["methods_left_out"].items()],
        provenance=_facts(shared),
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


def _shared_facts(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is the same for all methods, in the order of the first one."""
    if not provenances:
        return {}
    first, *others = provenances
    return {
        name: value
        for name, value in first.items()
        if all(name in other and other[name] == value for other in others)
    }


def _own_facts(provenance: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """What is set for one method, on one line."""
    own = {name: value for name, value in provenance.items() if name not in shared}
    return ", ".join(f"{name} {value}" for name, value in _facts(own))


def _classifier_name(provenance: Mapping[str, Any]) -> str:
    classifier = provenance.get("classifier", "")
    if isinstance(classifier, Mapping):
        classifier = classifier.get("name", "")
    return str(classifier) or "not named"


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each entry, as people read them."""
    return [(name.replace("_", " "), in_words(value)) for name, value in provenance.items()]
