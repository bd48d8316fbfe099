"""The pages of a report: HTML files that need nothing else and ask nobody for anything."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ttame.drawing.captions import percent
from ttame.drawing.heatmap_overlay import UNSEEN_BRIGHTNESS
from ttame.files.record_files import opened_for_text
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.embedded_pictures import legend_gradient
from ttame.reporting.page_facts import classifier_name, facts_in_words, own_facts, shared_facts
from ttame.reporting.page_template import page_template
from ttame.reporting.record_spool import Records

PHOTOS_PER_PAGE = 60
"""More photos than this are spread over several pages, and a page of thumbnails leads to them."""


def write_pages(
    folder: Path,
    about: Mapping[str, Any],
    preprocessing: Preprocessing,
    entries: Records,
    skipped: Records,
) -> None:
    """Write the pages piece by piece: one image is in memory at a time.

    Few photos stand on ``index.html`` alone. Of more, it is an index of thumbnails, and they stand
    on ``pages/1.html`` and so on.

    Args:
        folder: the folder of the report.
        about: what ``explanations.json`` says of the whole.
        preprocessing: the preprocessing of the classifier, for the footer.
        entries: one record per image, from ``ExplainedImage.page_entry``.
        skipped: name, heading and reason of each image that was not explained.
    """
    n_pages = -(-len(entries) // PHOTOS_PER_PAGE)
    shared = _shared_content(about, preprocessing, len(entries), n_pages)
    index = _Page("index.html", "", 0, 0, index_of=_thumbnails(entries))
    if n_pages <= 1:
        index = dataclasses.replace(index, images=entries)
    else:
        photos = iter(entries)
        for number in range(1, n_pages + 1):
            batch = itertools.islice(photos, PHOTOS_PER_PAGE)
            first = (number - 1) * PHOTOS_PER_PAGE
            page = _Page(f"pages/{number}.html", "../", number, first, images=batch)
            _write_page(folder, page, shared, n_skipped=0, skipped=())
    _write_page(folder, index, shared, n_skipped=len(skipped), skipped=skipped)


@dataclasses.dataclass(frozen=True)
class _Page:
    """One of the files.

    Attributes:
        path: within the report.
        root: from the page to the report's folder.
        number: from 1 on; 0 for ``index.html``.
        first: how many images stand on the pages before.
        images: that it shows.
        index_of: JSON of each image that it lists.
    """

    path: str
    root: str
    number: int
    first: int
    images: Iterable[Mapping[str, Any]] = ()
    index_of: Iterable[str] = ()


def _write_page(folder: Path, page: _Page, shared: Mapping[str, Any], **content: Any) -> None:
    path = folder / page.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened_for_text(path) as file:
        for piece in page_template("explanation_report.html").generate(
            page=page, images=page.images, **shared, **content
        ):
            file.write(piece)


def _thumbnails(entries: Records) -> Iterator[str]:
    """What the index knows of each image, as JSON that may stand in a page."""
    several = len(entries) > PHOTOS_PER_PAGE
    for place, entry in enumerate(entries):
        page = f"pages/{place // PHOTOS_PER_PAGE + 1}.html" if several else ""
        record = [
            entry["heading"],
            entry["name"],
            [
                [shown["name"], round(shown["probability"], 4), shown["rank"]]
                for shown in entry["classes"]
            ],
            f"{page}#image-{place + 1}",
            entry["thumbnail"],
        ]
        # No "<" must begin a tag or end the script.
        yield json.dumps(record).replace("<", "\\u003c")


def _shared_content(
    about: Mapping[str, Any], preprocessing: Preprocessing, n_images: int, n_pages: int
) -> dict[str, Any]:
    """What all pages of a report show alike."""
    methods = about["methods"]
    shared = shared_facts([method["provenance"] for method in methods])
    return {
        "title": about["title"],
        "classifier": classifier_name(shared),
        "methods": [
            {
                "name": method["name"] or "not named",
                "title": method["title"] or "not named",
                "facts": own_facts(method["provenance"], shared),
            }
            for method in methods
        ],
        "several": len(methods) > 1,
        "threshold": percent(about["threshold"]) if "threshold" in about else "",
        "of_pixels": [method["title"] for method in methods if method["drawn_as"] == "pixels"],
        "left_out": [*about["methods_left_out"].items()],
        "provenance": facts_in_words(shared),
        "preprocessing": preprocessing.in_words(),
        "gradient": legend_gradient(about["colour_scale"]),
        "opacity": round(100 * about["opacity"]),
        "strength": about.get("strength", "own"),
        "unseen_brightness": UNSEEN_BRIGHTNESS,
        "n_images": n_images,
        "n_pages": n_pages,
        "per_page": PHOTOS_PER_PAGE,
    }
