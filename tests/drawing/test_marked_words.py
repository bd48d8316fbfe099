from __future__ import annotations

from html.parser import HTMLParser

from tests.results.text_material import HOSTILE, explained
from ttame.drawing.marked_words import marked_text
from ttame.results.text_card import scales_of
from ttame.results.text_explanation import TextExplanation


def marked(explanation: TextExplanation) -> str:
    (scale, *_) = scales_of(explanation, 0)
    words = explanation.scored_words(0)
    return marked_text(explanation.texts[0], words, scale, signed=explanation.signed)


class Contents(HTMLParser):
    """The elements of a piece of HTML and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text = list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_text_is_kept_to_the_last_space() -> None:
    for text in ("  great \n\n film,\tnot bad ", "", "   ", "great"):
        assert Contents(marked(explained(text))).text == text


def test_what_strangers_write_is_escaped() -> None:
    found = Contents(marked(explained(HOSTILE)))
    assert set(found.tags) == {"p", "mark"}
    assert found.text == HOSTILE.replace("\x1b", "\ufffd")


def test_only_words_that_say_something_are_marked_and_signs_are_shown() -> None:
    text = marked(explained("a great film, not bad"))
    assert text.count("<mark") == 3 and text.count('class="against"') == 2
    assert '<mark class="against" style="--s:.33" title="\u22120.5">not</mark>' in text
    unsigned = marked(explained("a great film, not bad", signed=False))
    assert unsigned.count("<mark") == 1 and 'style="--s:1" title="1.5">great' in unsigned


def test_words_that_were_not_read_are_one_piece() -> None:
    text = marked(explained("great film, not bad at all", read=2))
    assert text.endswith(', <span class="unread">not bad at all</span></p>')


def test_a_pair_is_a_paragraph_of_its_own() -> None:
    text = marked(explained("great film", pair="not bad"))
    assert text.count("<p ") == 2 and text.index(" film") < text.index(">not<")
