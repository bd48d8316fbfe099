from __future__ import annotations

from html.parser import HTMLParser

from ttame.notebook.cards import Tile, card, facts, line, table, tiles

NASTY = '<script>alert("x")</script>&\'"'


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_whatever_is_said_is_text() -> None:
    page = card(
        NASTY,
        line(NASTY),
        facts([(NASTY, NASTY)]),
        tiles([Tile("data:,", NASTY, NASTY)]),
        table([NASTY], []),
    )
    found = Tags(page)
    assert "script" not in found.tags
    assert found.text.count(NASTY) == 7
    assert ("alt", NASTY) in found.attributes
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_cards_follow_the_theme_and_need_nothing_from_elsewhere() -> None:
    page = card("title", tiles([Tile("data:,", "label")]))
    assert "prefers-color-scheme:dark" in page and "--jp-content-font-color1" in page
    assert "http" not in page and "<link" not in page and "@import" not in page


def test_what_says_nothing_is_left_out() -> None:
    assert line("") == "" and tiles([]) == ""
    assert "empty" not in facts([("empty", ""), ("also empty", None), ("there", 0)])
