"""The page about all methods."""

from __future__ import annotations

from scripts.docs.methods_page import PAGE, methods_page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == methods_page(), (
        "write it again: python -m scripts.docs methods"
    )
