from __future__ import annotations

import io

from rich.console import Console

from tests.results.text_material import HOSTILE, explained
from ttame.drawing.terminal_words import terminal_text
from ttame.drawing.word_colours import TERMINAL_AGAINST, TERMINAL_FOR
from ttame.results.text_card import scales_of


def styles(text: str, *, signed: bool = True, pair: str | None = None) -> dict[str, str]:
    """Word to its style."""
    explanation = explained(text, pair=pair, signed=signed)
    found = terminal_text(
        explanation.texts[0], explanation.scored_words(0), scales_of(explanation, 0)[0],
        signed=signed,
    )  # fmt: skip
    return {found.plain[span.start : span.end]: str(span.style) for span in found.spans}


def test_strength_and_sign_show_without_colours_too() -> None:
    found = styles("wonderful bad film, not great")
    assert found == {
        "wonderful": f"bold underline bright_white on {TERMINAL_FOR}",
        "great": f"bold underline bright_white on {TERMINAL_FOR}",
        "bad": f"italic bold underline {TERMINAL_AGAINST}",
        "not": f"italic {TERMINAL_AGAINST}",
    }
    assert set(styles("wonderful bad film", signed=False)) == {"wonderful"}


def test_words_of_a_pair_are_found_in_it() -> None:
    assert set(styles("great film", pair="a bad one")) == {"great", "bad"}


def test_escapes_of_strangers_do_not_reach_the_terminal() -> None:
    explanation = explained(HOSTILE)
    found = terminal_text(
        explanation.texts[0], explanation.scored_words(0), scales_of(explanation, 0)[0], signed=True
    )
    stream = io.StringIO()
    Console(file=stream, width=500).print(found)
    assert stream.getvalue() == HOSTILE.replace("\x1b", "\ufffd") + "\n"
