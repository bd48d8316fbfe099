"""How an explanation of texts is looked at: in a notebook, in a terminal, on a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ttame.drawing.marked_words import writable
from ttame.drawing.terminal_words import terminal_text
from ttame.drawing.word_strength import WordStrength, check_word_strength
from ttame.files.atomic_writing import whole_file
from ttame.notebook.cards import MOST_CHARACTERS
from ttame.notebook.cells import in_notebook, show_html
from ttame.results.text_card import (
    ScoredTexts,
    card_of,
    drawn_places,
    figures_of,
    page_of,
    scales_of,
    strongest_in_words,
    title_of,
    unread_in_words,
)
from ttame.words.word_scores import ScoredWord

if TYPE_CHECKING:
    from rich.text import Text


class WrittenText:
    """The part of :class:`ttame.text.TextExplanation` that writes texts with marked words."""

    def _repr_html_(self: ScoredTexts) -> str:
        """What a notebook shows: the texts, with what the scores say marked in them."""
        return card_of(self, most=int(0.9 * MOST_CHARACTERS))

    def to_html(
        self: ScoredTexts, path: Path | str | None = None, *, strength: WordStrength = "own"
    ) -> str:
        """A page of all texts that needs nothing else: no scripts, no fonts, no connection.

        Words that speak for a class are orange with a line below, words that speak against it blue
        with a line above, so that colour is not needed to read them; in light and in dark. What
        the texts hold is shown as text, also where it is HTML.

        Args:
            path: the path of a file to write it to, whole or not at all; an existing one is
                replaced.
            strength: ``"own"``: each class has its own scale. ``"shared"``: one scale for all
                classes of a text. ``"probability"``: words fade with the probability of their
                class. ``"stretched"``: from the lowest score to the highest, for scores that
                differ little.

        Returns:
            The page.

        Raises:
            UnknownNameError: no such strength.
            OutputError: the disk is full or the place is not writable.
        """
        check_word_strength(strength)
        page = page_of(self, strength)
        if path is not None:
            with whole_file(path) as temporary:
                temporary.write_text(page, encoding="utf-8")
        return page

    def show(self: ScoredTexts, *, strength: WordStrength = "own") -> None:
        """Show the texts: in a notebook below the cell, else in the terminal.

        Where the output is not a terminal but a file, the texts are plain, and the line below
        each names its strongest words.

        Raises:
            UnknownNameError: no such strength.

        Example:
            >>> import torch
            >>> from ttame.results.text_explanation import TextExplanation
            >>> from ttame.words.tokenised_text import TokenisedText
            >>> text = TokenisedText.of("so good", ("so", "good"), spans=((0, 2), (3, 7)),
            ...     special=(False, False))
            >>> explanation = TextExplanation(torch.tensor([[[0.25, 1.0]]]), torch.tensor([[1]]),
            ...     torch.zeros(1, 2), (text,), ("negative", "positive"), method="rollout")
            >>> explanation.show()
            Explanation by rollout
            positive 50.0%
            so good
            strongest: good 1, so 0.25
        """
        check_word_strength(strength)
        if in_notebook():
            show_html(card_of(self, strength))
            return
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        console.print(title_of(self), style="bold")
        for text in range(len(self)):
            for line in lines_of(self, text, strength):
                # In a file, a line is a line.
                console.print(line, soft_wrap=not console.is_terminal)


def lines_of(explained: ScoredTexts, text: int, strength: WordStrength = "own") -> list[Text]:
    """One text, class by class, for a terminal.

    Args:
        explained: the texts.
        text: which of them.
        strength: see :data:`ttame.drawing.word_strength.WordStrength`.
    """
    from rich.text import Text

    scales, signed = scales_of(explained, text), explained.signed
    lines = [Text(f"\nText {text + 1} of {len(explained)}")] if len(explained) > 1 else []
    words: tuple[ScoredWord, ...] = ()
    for place in drawn_places(explained, text):
        words = explained.scored_words(place, text)
        label = writable(explained.target_label(text, place))
        lines.append(Text.assemble((label, "bold"), f" {figures_of(explained, text, place)}"))
        lines.append(
            terminal_text(
                explained.texts[text], words, scales[place], signed=signed, strength=strength
            )
        )
        strongest = strongest_in_words(words, signed=signed)
        lines += [Text(strongest, style="dim")] if strongest else []
    remark = unread_in_words(words)
    return [*lines, *([Text(remark, style="dim")] if remark else [])]
