"""The pages of explained texts: HTML files that need nothing else and ask nobody for anything."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from ttame.drawing.captions import percent
from ttame.drawing.word_colours import word_style
from ttame.files.record_files import opened_for_text
from ttame.reporting.page_facts import classifier_name, facts_in_words, own_facts, shared_facts
from ttame.reporting.page_template import page_template
from ttame.reporting.record_spool import Records

TEXTS_PER_PAGE = 50
"""More texts than this are spread over several pages, and a list leads to them."""


class _Page(NamedTuple):
    """One of the files: its path, the way from it to the folder, its number, texts before it."""

    path: str
    root: str
    number: int
    first: int


def write_text_pages(
    folder: Path, about: Mapping[str, Any], entries: Records, skipped: Records
) -> None:
    """Write the pages piece by piece: one text is in memory at a time.

    Few texts stand on ``index.html`` alone. Of more, it is a list of how they begin, and they stand
    on ``pages/1.html`` and so on.

    Args:
        folder: the folder of the report.
        about: what ``explanations.json`` says of the whole.
        entries: one record per text, from ``ExplainedText.page_entry``.
        skipped: name and reason of each text that was not explained.
    """
    n_pages = -(-len(entries) // TEXTS_PER_PAGE)
    shared = {**_shared_content(about), "n_texts": len(entries), "n_pages": n_pages}
    index = _Page("index.html", "", 0, 0)
    own = {"n_skipped": len(skipped), "skipped": skipped}
    if n_pages <= 1:
        _write_page(folder, index, shared, texts=entries, listed=(), **own)
        return
    texts = iter(entries)
    for number in range(1, n_pages + 1):
        page = _Page(f"pages/{number}.html", "../", number, (number - 1) * TEXTS_PER_PAGE)
        batch = itertools.islice(texts, TEXTS_PER_PAGE)
        _write_page(folder, page, shared, texts=batch, listed=(), n_skipped=0, skipped=())
    _write_page(folder, index, shared, texts=(), listed=entries, **own)


def _write_page(folder: Path, page: _Page, shared: Mapping[str, Any], **content: Any) -> None:
    path = folder / page.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened_for_text(path) as file:
        for piece in page_template("text_report.html").generate(page=page, **shared, **content):
            file.write(piece)


def _shared_content(about: Mapping[str, Any]) -> dict[str, Any]:
    """What all pages of a report show alike."""
    methods = about["methods"]
    shared = shared_facts([method["provenance"] for method in methods])
    return {
        "title": about["title"],
        "classifier": classifier_name(shared),
        "methods": [
            {
                "name": method["name"],
                "title": method["title"],
                "facts": own_facts(method["provenance"], shared),
            }
            for method in methods
        ],
        "several": len(methods) > 1,
        "threshold": percent(about["threshold"]) if "threshold" in about else "",
        "left_out": [*about["methods_left_out"].items()],
        "provenance": facts_in_words(shared),
        "strength": about["strength"],
        "word_style": Markup(word_style()),
        "per_page": TEXTS_PER_PAGE,
    }
