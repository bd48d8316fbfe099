"""The colours of words: orange speaks for a class, blue against it, in light and in dark.

Orange and blue look different with every common colour blindness, and nothing rests on colour
alone: what speaks for a class has a line below it, what speaks against it a line above, and the
line is the thicker, the more the word says. Orange is a colour of inferno, the default scale of
maps on photos. Every mixture with the paper leaves text at a contrast of 4.5 (WCAG 2.2, AA).
"""

from __future__ import annotations

import dataclasses

from ttame.drawing.colour_scales import colour_scale

_PLACE_IN_INFERNO = 190
"""Bright, and as far from blue as the scale gets."""


def _hexadecimal(scale: str, place: int) -> str:
    red, green, blue = (int(value) for value in colour_scale(scale)[place])
    return f"#{red:02x}{green:02x}{blue:02x}"


@dataclasses.dataclass(frozen=True)
class WordPalette:
    """Colours on light or on dark paper.

    Attributes:
        for_class: fill of what speaks for a class.
        against_class: fill of what speaks against it.
        most_for: of the fill, in percent, at full strength; the rest is the paper's own colour.
        most_against: the same of what speaks against it.
        line_for: the line below.
        line_against: the line above.
        unread: the colour of words that the network did not read.
    """

    for_class: str
    against_class: str
    most_for: int
    most_against: int
    line_for: str
    line_against: str
    unread: str


FOR_CLASS = _hexadecimal("inferno", _PLACE_IN_INFERNO)
AGAINST_CLASS = "#3d8fd6"

TERMINAL_FOR, TERMINAL_AGAINST = "#b85c00", "#2e77bf"
"""As far from black as from white: nobody knows what a terminal's paper is."""

LIGHT = WordPalette(FOR_CLASS, AGAINST_CLASS, 85, 75, "#b85c00", "#1f65a8", "#66646d")
DARK = WordPalette(FOR_CLASS, AGAINST_CLASS, 36, 46, "#ffab3d", "#7ab8f5", "#a09fa8")


def word_style() -> str:
    """The style sheet of marked words, for every element with the class ``words``.

    Follows the system's choice of light or dark, or the notebook's where it tells.
    """
    return (
        f".words{{{_variables(LIGHT)}}}"
        f"@media(prefers-color-scheme:dark){{.words{{{_variables(DARK)}}}}}"
        f"[data-jp-theme-light=true] .words,.vscode-light .words{{{_variables(LIGHT)}}}"
        f"[data-jp-theme-light=false] .words,.vscode-dark .words{{{_variables(DARK)}}}"
        f"{_SHAPES}"
    )


_SHAPES = (
    # Line breaks are the writer's; marks piled upon one letter do not reach other words.
    ".words{line-height:2;white-space:pre-wrap;overflow-wrap:anywhere;overflow:hidden;"
    "text-align:start;max-width:75ch;margin:0;padding:.2em 0}"
    ".words+.words{margin-top:.5em;padding-left:.8em;"
    "border-left:2px solid color-mix(in srgb,currentColor 30%,transparent)}"
    # How strong a word is drawn: a share of the text's own scale, which a page may change.
    ".words mark{--drawn:clamp(0,(var(--s) - var(--lo,0))*var(--f,1),1);color:inherit;"
    "padding:.08em .1em;border-radius:.2em;-webkit-box-decoration-break:clone;"
    "box-decoration-break:clone;-webkit-print-color-adjust:exact;print-color-adjust:exact;"
    "background:color-mix(in srgb,var(--for) calc(var(--drawn)*var(--most-for)),transparent);"
    # A browser draws every line at least one pixel wide: weak words would all have one.
    "--line:calc(max(0,var(--drawn) - .12)*.32em);border-bottom:var(--line) solid var(--line-for)}"
    ".words mark.against{border-bottom:0;"
    "background:color-mix("
    "in srgb,var(--against) calc(var(--drawn)*var(--most-against)),transparent);"
    "border-top:var(--line) solid var(--line-against)}"
    ".words .unread{color:var(--unread);text-decoration:underline dotted}"
    ".shared .words{--f:var(--share)}"
    ".probability .words{--f:var(--fade)}"
    ".stretched .words{--lo:var(--low);--f:calc(1/(1 - var(--low)))}"
)


def _variables(palette: WordPalette) -> str:
    return (
        f"--for:{palette.for_class};--against:{palette.against_class};"
        f"--most-for:{palette.most_for}%;--most-against:{palette.most_against}%;"
        f"--line-for:{palette.line_for};--line-against:{palette.line_against};"
        f"--unread:{palette.unread}"
    )
