"""The section is that of the page, and holds what issue and page promise."""

from __future__ import annotations

from scripts.docs.compatibility_page import PAGE
from scripts.docs.situations_section import ALL, HEAD, as_markdown, compared

RELEVANCE = {"lrp", "full_lrp", "attn_lrp", "input_x_gradient"}


def test_the_page_has_the_section() -> None:
    assert as_markdown() in PAGE.read_text(encoding="utf-8"), (
        "run: python -m scripts.docs compatibility"
    )


def test_there_are_enough_situations_and_most_of_them_work() -> None:
    titles = [each.title for each in ALL]
    assert len(set(titles)) == len(titles)
    assert len(ALL) >= 40
    assert sum(each.works for each in ALL) >= 36


def test_of_what_works_methods_of_four_kinds_are_compared() -> None:
    for each in ALL:
        if each.works and "scores alone" not in each.title:
            methods = set(compared(each))
            assert methods & {"grad_cam", "cam"}, each.title
            assert methods & RELEVANCE, each.title
            assert "occlusion" in methods, each.title
            assert methods & {HEAD, "t_tame", "few_shot"}, each.title
