from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tests.results.text_material import explained
from ttame.errors import OutputError, UnknownNameError
from ttame.notebook.cards import MOST_CHARACTERS
from ttame.results.text_card import strongest_in_words, unread_in_words
from ttame.results.written_text import lines_of
from ttame.words.word_scores import ScoredWord, Word


def test_a_page_is_whole_small_and_asks_nobody(tmp_path: Path) -> None:
    explanation = explained("great film, not bad", "wonderful")
    page = explanation.to_html(tmp_path / "why.html")
    assert (tmp_path / "why.html").read_text(encoding="utf-8") == page
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n") and len(page) < 6000
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")
    assert page.count('class="words"') == 4 and "Text 2 of 2" in page
    assert "for: great +1.5; against: bad −1, not −0.5" in page
    with pytest.raises(OutputError, match="cannot write"):
        explanation.to_html(tmp_path / "why.html" / "inside.html")
    with pytest.raises(UnknownNameError, match="strength 'loud'"):
        explanation.to_html(strength="loud")  # type: ignore[arg-type]


def test_a_notebook_is_not_flooded() -> None:
    many = explained(*["great film, not bad " * 60] * 40)
    card = many._repr_html_()
    assert len(card) < MOST_CHARACTERS and "of 40 texts; explanation[i] shows another" in card
    assert "of 40 texts; " not in many.to_html()


def test_what_is_cut_off_is_said() -> None:
    page = explained("great film, not bad", read=2).to_html()
    assert "2 of 4 words were not read: the text is too long for the classifier" in page
    assert "not read" not in explained("great film").to_html()


def test_words_that_the_tokenizer_leaves_out_do_not_make_a_text_too_long() -> None:
    """Zero-width and control characters between white space, also at the ends."""
    odd = explained("\u200b great \x07 film \ufeff", pair="so \u200d good")
    said = unread_in_words(odd.scored_words())
    assert said == "4 of 8 words were not read: the tokenizer leaves them out"
    both = unread_in_words(explained("great \x07 film, not bad", read=2).scored_words())
    assert both == (
        "2 of 5 words were not read: the text is too long for the classifier; "
        "1 of 5 words was not read: the tokenizer leaves it out"
    )
    of_pairs = unread_in_words(explained("great film", pair="not so bad", read=1).scored_words())
    assert of_pairs == "3 of 5 words were not read: the text is too long for the classifier"


def test_texts_without_evidence_say_so() -> None:
    assert "positive</bdi></b> <span class=\"faint\">81.8% · no evidence" in explained(
        "a film"
    ).to_html()  # fmt: skip


def test_a_file_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    long = "great film, " * 30
    explained(long, "not bad").show()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Explanation by input_x_gradient" and lines[2] == "Text 1 of 2"
    assert lines[3] == "positive 81.8%" and lines[4].rstrip() == long.rstrip()
    assert lines[5].startswith("for: great +1.5") and not any("\x1b" in line for line in lines)


def test_a_terminal_gets_colours() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=80)
    for line in lines_of(explained("great film"), 0):
        console.print(line)
    assert "\x1b[1;4;97;48;2;184;92;0mgreat\x1b[0m" in stream.getvalue()


def test_words_below_a_text_lose_nothing_but_what_stands_around_them() -> None:
    """Emoji of several characters stay whole; marks for the direction of writing do not turn it."""
    family, heart = "\U0001f469\u200d\U0001f467", "\u2764\ufe0f"
    one, scores = family + " " + heart + " \u202e(great)\u202c cafe\u0301!", (4.0, 3.0, 2.0, 1.0)
    words = [ScoredWord(Word(each, 0, 1, 0, (0,)), score)
             for each, score in zip(one.split(), scores, strict=True)]  # fmt: skip
    assert strongest_in_words(words, signed=False) == (
        f"strongest: \u2068{family}\u2069 4, \u2068{heart}\u2069 3, great 2, "
        "\u2068cafe\u0301\u2069 1"
    )
