"""Whether words can be read on their colours, and the colours be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.page_pictures import chromium
from tests.reporting.test_page_template import contrast
from tests.results.text_material import HOSTILE, explained
from ttame.drawing.word_colours import DARK, LIGHT, TERMINAL_AGAINST, TERMINAL_FOR, WordPalette

PAPERS = {
    # Of pages, cards in JupyterLab and VS Code: paper, ink.
    "light": (LIGHT, [("#fbfaf8", "#1d1c20"), ("#ffffff", "#212121"), ("#ffffff", "#3b3b3b")]),
    "dark": (DARK, [("#131316", "#ecebef"), ("#111111", "#e0e0e0"), ("#1e1e1e", "#cccccc")]),
}


def mixed(colour: str, paper: str, share: float) -> str:
    values = (
        share * int(colour[at : at + 2], 16) + (1 - share) * int(paper[at : at + 2], 16)
        for at in (1, 3, 5)
    )
    return "#" + "".join(f"{round(value):02x}" for value in values)


def fills(palette: WordPalette, paper: str) -> Iterator[str]:
    for share in np.linspace(0, 1, 11):
        yield mixed(palette.for_class, paper, share * palette.most_for / 100)
        yield mixed(palette.against_class, paper, share * palette.most_against / 100)


@pytest.mark.parametrize("scheme", PAPERS)
def test_text_can_be_read_at_every_strength_on_every_paper(scheme: str) -> None:
    palette, papers = PAPERS[scheme]
    worst = min(contrast(fill, ink) for paper, ink in papers for fill in fills(palette, paper))
    assert worst >= 4.5
    for paper, _ in papers:
        assert contrast(palette.line_for, paper) >= 3 and contrast(palette.line_against, paper) >= 3
        assert contrast(palette.unread, paper) >= 4.5


def test_terminals_of_any_paper_can_be_read() -> None:
    for colour, paper in itertools.product(
        (TERMINAL_FOR, TERMINAL_AGAINST), ("#000000", "#ffffff")
    ):
        assert contrast(colour, paper) >= 4.4


# Machado, Oliveira and Fernandes 2009, complete loss of one kind of cones, on linear light.
LOSSES = {
    "none": np.eye(3),
    "red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998]],
    "green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]],
    "blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
             [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(colour: str, loss: Any) -> NDArray[np.float64]:
    """CIELAB (D65) of a colour as somebody without these cones sees it."""
    share = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = (np.array(loss) @ linear).clip(0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(to_xyz @ seen / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scheme", PAPERS)
def test_for_and_against_are_told_apart_by_everybody(scheme: str, loss: str) -> None:
    palette, papers = PAPERS[scheme]
    paper = papers[0][0]
    both = [
        lab(mixed(colour, paper, most / 100), LOSSES[loss])
        for colour, most in (
            (palette.for_class, palette.most_for), (palette.against_class, palette.most_against)
        )
    ]  # fmt: skip
    # A difference of 2.3 is just seen.
    assert np.linalg.norm(both[0] - both[1]) > 25
    # Red and green of equal lightness would not be.
    red, green = lab("#c05050", LOSSES["green"]), lab("#6f7f3a", LOSSES["green"])
    assert np.linalg.norm(red - green) < 25


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


STYLES = """(marks) => marks.map((mark) => {
  const style = getComputedStyle(mark);
  return [mark.textContent, style.backgroundColor, parseFloat(style.borderBottomWidth),
          parseFloat(style.borderTopWidth)];
})"""


def alpha(colour: str) -> float:
    """Of ``color(srgb r g b / alpha)``."""
    return float(colour.rpartition("/")[2].rstrip(") "))


def test_words_are_drawn_by_their_scores(browser: Any) -> None:
    view = browser.new_page()
    view.set_content(explained("a great wonderful film, not bad").to_html())
    marks = view.locator(".words").first.locator("mark").evaluate_all(STYLES)
    assert [mark[0] for mark in marks] == ["great", "wonderful", "not", "bad"]
    for (_, colour, below, above), strength in zip(marks, (0.75, 1, -0.25, -0.5), strict=True):
        most = LIGHT.most_for if strength > 0 else LIGHT.most_against
        assert alpha(colour) == pytest.approx(abs(strength) * most / 100, abs=0.01)
        assert (below > 0, above > 0) == (strength > 0, strength < 0)
    below, above = [mark[2] for mark in marks], [mark[3] for mark in marks]
    assert below[1] > below[0] and above[3] >= above[2]
    # The other class says half as much of everything: on a scale of its own that is not seen.
    other = view.locator(".words").nth(1).locator("mark").evaluate_all(STYLES)
    assert alpha(other[1][1]) == pytest.approx(LIGHT.most_against / 100, abs=0.01)
    view.set_content(explained("a great wonderful film, not bad").to_html(strength="shared"))
    other = view.locator(".words").nth(1).locator("mark").evaluate_all(STYLES)
    assert alpha(other[1][1]) == pytest.approx(0.5 * LIGHT.most_against / 100, abs=0.01)
    view.close()


def test_what_strangers_write_stays_text_and_stays_inside(browser: Any) -> None:
    complaints: list[str] = []
    view = browser.new_page(viewport={"width": 390, "height": 800})
    view.on("dialog", lambda dialog: complaints.append(dialog.message))
    view.on("console", lambda message: complaints.append(message.text))
    texts = (HOSTILE, "great" * 200, "هذا الفيلم رائع جدا", "好看" * 300, "e\u0301\u0335" * 40)
    view.set_content(explained(*texts, class_names=("<b>no</b>", "<i>yes</i>")).to_html())
    first = view.locator(".words").first
    assert first.inner_text() == HOSTILE.replace("\x1b", "\ufffd")
    assert view.locator("script, img, b b, i").count() == 0
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    directions = view.locator(".words").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).direction)"
    )
    assert directions[4] == "rtl" and directions[2] == "ltr"
    assert complaints == []
    view.close()
