"""Every method on every architecture of texts: a padded batch equals singles; the page says so."""

from __future__ import annotations

import functools

import pytest

from scripts.docs.text_architectures_page import METHODS, PAGE, architectures_page, row_of
from ttame.testing.tiny_texts import ARCHITECTURES

found = functools.cache(row_of)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_methods_work_or_say_why_not(architecture: str) -> None:
    row = found(architecture)
    assert list(row) == list(METHODS)
    for method in ("integrated_gradients", "attn_lrp", "libra_grad", "occlusion", "full_lrp"):
        assert not row[method]
    if architecture in ("bert", "roberta", "distilbert", "electra", "mpnet"):
        assert not any(row.values())


def test_the_page_is_up_to_date() -> None:
    page = architectures_page({name: found(name) for name in ARCHITECTURES})
    assert PAGE.read_text(encoding="utf-8") == page, (
        "write it again: python -m scripts.docs text-architectures"
    )
