"""Any name as one line of text."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from ttame.files.printable_names import printable


@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_become_one_printable_line(name: bytes) -> None:
    text = printable(os.fsdecode(name))
    text.encode("utf-8")
    assert len(text.splitlines()) == 1
    assert not any(ord(character) < 32 for character in text)


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))))
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


def test_bytes_and_marks_are_named() -> None:
    assert printable(os.fsdecode(b"caf\xe9\x00\x7f")) == r"caf\xe9\x00\x7f"
    assert printable("a\u2028b\u202ec\ud800") == r"a\u2028b\u202ec\ud800"
    assert printable("\N{FAMILY}\u200d") == "\N{FAMILY}\u200d"  # emoji are joined by it
