"""The page follows from what is stored, which was made by the code as it is."""

from __future__ import annotations

import json

from scripts.docs.timm_families import (
    PAGE,
    STORED,
    TRIED,
    UNDEFINED,
    UNDEFINED_WORDS,
    WORKS,
    Family,
    as_markdown,
    how_tried,
)


def family(**outcomes: str) -> Family:
    return Family("m", "n", 1.0, "128x128", {**dict.fromkeys(TRIED, WORKS), **outcomes})


def test_the_page_follows_from_what_is_stored() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown(), (
        "run: python -m scripts.docs.timm_families --collect"
    )


def test_what_is_stored_was_tried_as_the_code_tries() -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert stored["how"] == how_tried(), "run: python -m scripts.docs.timm_families"
    modules = [row["module"] for row in stored["rows"]]
    assert len(set(modules)) == len(modules)
    assert set(modules) <= set(stored["families"])


def test_95_of_100_families_are_right() -> None:
    rows = [Family(**row) for row in json.loads(STORED.read_text(encoding="utf-8"))["rows"]]
    assert sum(row.is_right for row in rows) >= 0.95 * len(rows)


def test_both_ways_of_counting() -> None:
    assert family().works
    assert family().is_right
    undefined = family(class_evidence=f"{UNDEFINED}it is not defined: {UNDEFINED_WORDS}")
    assert (undefined.works, undefined.is_right) == (False, True)
    assert not family(class_evidence=f"{UNDEFINED}another reason").is_right
    assert not family(grad_cam=f"{UNDEFINED}{UNDEFINED_WORDS}").is_right
    assert not family(inspect="fails: more than 1200 s").is_right
