"""Cards of HTML that notebooks show: self-contained, in light and in dark, without scripts.

Colours follow the notebook's theme where it tells (JupyterLab, VS Code), else the system's choice
of light or dark.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Sequence

MOST_CHARACTERS = 200_000
"""Of one card; a notebook holds many of them."""

_TRANSPARENT = "color-mix(in srgb, currentColor 18%, transparent)"
_STYLE = (
    "<style>"
    ".ttame{color-scheme:light dark;font:14px/1.45 system-ui,sans-serif;max-width:72rem;"
    "color:var(--jp-content-font-color1,var(--vscode-editor-foreground,#1c1c20));"
    f"border:1px solid {_TRANSPARENT};border-radius:8px;padding:12px 16px;margin:4px 0}}"
    "@media(prefers-color-scheme:dark){.ttame{"
    "color:var(--jp-content-font-color1,var(--vscode-editor-foreground,#e6e6ea))}}"
    ".ttame b.title{font-size:15px}"
    ".ttame .faint{opacity:.72}"
    ".ttame p{margin:2px 0}"
    ".ttame .tiles{display:flex;flex-wrap:wrap;gap:12px;margin-top:8px}"
    ".ttame figure{margin:0;max-width:200px}"
    ".ttame img{display:block;max-width:100%;height:auto;border-radius:4px;margin:0}"
    ".ttame figcaption{margin-top:4px;overflow-wrap:anywhere}"
    ".ttame .scroll{overflow-x:auto;margin-top:8px}"
    ".ttame table{border-collapse:collapse;color:inherit;margin:0;font-size:13px}"
    ".ttame table,.ttame tr,.ttame td,.ttame th{background:none!important;border:0}"
    ".ttame td,.ttame th{padding:4px 12px 4px 0;text-align:left;vertical-align:top;"
    "color:inherit;white-space:normal}"
    f".ttame thead th{{border-bottom:1px solid {_TRANSPARENT}}}"
    f".ttame tr+tr td{{border-top:1px solid {_TRANSPARENT}}}"
    ".ttame .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "</style>"
)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A picture with its caption.

    Attributes:
        address: of the picture.
        label: below it, and what a screen reader says.
        figures: below the label, fainter.
    """

    address: str
    label: str
    figures: str = ""

    def as_html(self) -> str:
        """One ``<figure>``.

        Example:
            >>> Tile("data:,", "<cat>").as_html()[:44]
            '<figure><img src="data:," alt="&lt;cat&gt;">'
        """
        figures = f'<br><span class="faint">{escaped(self.figures)}</span>' if self.figures else ""
        label = escaped(self.label)
        return (
            f'<figure><img src="{escaped(self.address)}" alt="{label}">'
            f"<figcaption>{label}{figures}</figcaption></figure>"
        )


def escaped(text: object) -> str:
    """Text that is safe to stand in HTML, also inside quotes.

    Example:
        >>> escaped('<b title="x">')
        '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text))


def card(title: str, *parts: str) -> str:
    """A card with a title; parts are HTML already, those that are empty are left out.

    Example:
        >>> card("Grad-CAM", line("one <forward> pass"))[-80:]
        '<b class="title">Grad-CAM</b><p class="faint">one &lt;forward&gt; pass</p></div>'
    """
    return f'{_STYLE}<div class="ttame"><b class="title">{escaped(title)}</b>{"".join(parts)}</div>'


def line(text: str) -> str:
    """A line below the title; nothing of an empty text."""
    return f'<p class="faint">{escaped(text)}</p>' if text else ""


def link(address: object, text: object) -> str:
    """A line that leads somewhere.

    Example:
        >>> link("why/index.html", "the page")
        '<p><a href="why/index.html">the page</a></p>'
    """
    return f'<p><a href="{escaped(address)}">{escaped(text)}</a></p>'


def tiles(shown: Iterable[Tile]) -> str:
    """Pictures next to each other."""
    figures = "".join(tile.as_html() for tile in shown)
    return f'<div class="tiles">{figures}</div>' if figures else ""


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """A table of names and what they are; pairs with nothing to say are left out.

    Example:
        >>> facts([("taps", "a, b"), ("notes", "")]).count("<tr>")
        1
    """
    rows = "".join(
        f'<tr><td class="faint">{escaped(name)}</td><td>{escaped(value)}</td></tr>'
        for name, value in pairs
        if value not in ("", None)
    )
    return f'<div class="scroll"><table>{rows}</table></div>'


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is words and whose others are numbers.

    Args:
        headings: the headings of the columns.
        rows: cells, each of them HTML already.
    """
    head = "".join(
        f'<th class="{"number" if place else ""}">{escaped(heading)}</th>'
        for place, heading in enumerate(headings)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"number" if place else ""}">{cell}</td>' for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )
