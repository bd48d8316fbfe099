import pytest

from ttame.drawing import captions
from ttame.drawing.captions import percent, wrap_caption, writable_caption


@pytest.mark.parametrize("size", [11, 16, 30])
def test_no_line_is_wider_than_allowed(size):
    text = "tench, Tinca tinca, a fish " * 5 + "W" * 3000
    text, font = writable_caption(text, size)
    for max_lines in (1, 2, 3):
        lines = wrap_caption(text, font, 200, max_lines)
        assert len(lines) == max_lines
        assert max(font.getlength(line) for line in lines) <= 200
        assert lines[-1].endswith("…")


def test_what_fits_is_kept_whole():
    text, font = writable_caption("great white shark", 16)
    assert wrap_caption(text, font, 1000) == ["great white shark"]
    assert " ".join(wrap_caption(text, font, 100)) == "great white shark"


def test_an_endless_word_before_others_does_not_swallow_the_second_line():
    text, font = writable_caption("W" * 200 + " cat", 16)
    first, second = wrap_caption(text, font, 100)
    assert first.endswith("W…")
    assert second == "cat"


def test_letters_that_no_font_has_become_readable(monkeypatch):
    monkeypatch.setattr(captions, "_system_font", lambda name, size: None)
    assert writable_caption("Löwe, 猫", 16)[0] == "Lowe, ?"


def test_a_font_of_the_system_is_used_if_it_has_all_letters(monkeypatch):
    asked = []

    def remember(name, size):
        asked.append(name)

    monkeypatch.setattr(captions, "_system_font", remember)
    writable_caption("plain ASCII", 16)
    assert asked == []
    writable_caption("кошка", 16)
    assert asked == list(captions._SYSTEM_FONTS)


def test_control_and_direction_characters_are_dropped():
    assert writable_caption("a\u202egnp.exe\n\tb\x00c", 16)[0] == "agnp.exe b c"


def test_percent_never_claims_certainty_that_is_not_there():
    assert percent(0.9999) == ">99.9%"
    assert percent(0.9990) == "99.9%"
    assert percent(1e-9) == "<0.1%"
    assert percent(0.001) == "0.1%"
