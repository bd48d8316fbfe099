"""What everybody must be able to read and reach on every page: colours, names, order, axe."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.large_page import write_invented_pages
from scripts.page_pictures import AXE_IS_MISSING, COLOUR_RULES, axe_source, barriers, chromium
from tests.reporting import evaluation_material as material
from ttame.reporting import page_template as template_of_pages
from ttame.reporting.evaluation_report import write_evaluation_report

TEMPLATES = Path(template_of_pages.__file__).parent / "templates"
ROOT = Path(__file__).parents[2]
PAGES = ("12/index.html", "70/index.html", "70/pages/2.html", "evaluation.html")
WRITTEN = ("docs/leaderboard/report.html", "docs/leaderboard/report-2.html")
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for count in (12, 70):
        (made / str(count)).mkdir()
        write_invented_pages(made / str(count), count)
    evaluation = material.realistic()
    write_evaluation_report(made / "evaluation.html", evaluation, material.gallery(evaluation, 2))
    return made


# Colours, from the style sheets alone


def colours(scheme: str) -> dict[str, str]:
    """Variable to ``#rrggbb``, as a page has it in this scheme."""
    found: dict[str, str] = {}
    for name in ("page.css", "evaluation_report.css"):
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        light, _, dark = text.partition("@media (prefers-color-scheme: dark) {")
        dark = dark.partition("\n}\n")[0]
        declared = r"--([\w-]+): (#[0-9a-f]{6})\b"
        found |= dict(re.findall(declared, light))
        found |= dict(re.findall(declared, dark)) if scheme == "dark" else {}
    return found


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_can_be_read(scheme: str) -> None:
    has = colours(scheme)
    texts, papers = ("ink", "faint", "accent", "warn"), ("paper", "raised")
    pairs = [*itertools.product(texts, papers), ("ink", "best"), ("ink", "level")]
    pairs += [("faint", "level"), ("faint", "best"), ("good", "paper")]
    unreadable = {pair: contrast(has[pair[0]], has[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in unreadable.items() if ratio < 4.5} == {}
    lines = {name: contrast(value, has["paper"]) for name, value in has.items() if name[0] == "c"}
    assert len(lines) == 9 and {name for name, ratio in lines.items() if ratio < 3} == set()


# Structure, from the HTML alone


class Outline(HTMLParser):
    """What a screen reader asks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.language, self.headings, self.faults = "", list[int](), list[str]()
        self._labelled = 0
        self._label_of: set[str] = set(re.findall(r'<label[^>]* for="([^"]+)"', text))
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        has = dict(attributes)
        where = self.get_starttag_text() or tag
        if tag == "html":
            self.language = has.get("lang") or ""
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img" and "alt" not in has:
            self.faults.append(f"no alt: {where[:80]}")
        if int(has.get("tabindex") or 0) > 0:
            self.faults.append(f"an order of its own: {where[:80]}")
        self._labelled += tag == "label"
        named = self._labelled or has.get("aria-label") or has.get("id") in self._label_of
        if tag in ("input", "select", "textarea") and not named:
            self.faults.append(f"no label: {where[:80]}")

    def handle_endtag(self, tag: str) -> None:
        self._labelled -= tag == "label"


@pytest.mark.parametrize("path", [*PAGES, *WRITTEN])
def test_pages_say_their_language_their_order_and_the_name_of_every_field(
    folder: Path, path: str
) -> None:
    place = ROOT / path if path in WRITTEN else folder / path
    outline = Outline(place.read_text(encoding="utf-8"))
    assert outline.language == "en" and outline.faults == []
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    steps = [after - before for before, after in itertools.pairwise(outline.headings)]
    assert max(steps) <= 1, "a level of headings is left out"


def test_faults_are_found() -> None:
    bad = '<html><h2>x</h2><img src="a"><input id="b"><label>c <select></select></label>'
    assert len(Outline(bad).faults) == 2 and Outline(bad).language == ""
    assert Outline('<label for="b">b</label><input id="b">').faults == []


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


def test_the_tab_key_goes_down_the_page(browser: Any, folder: Path) -> None:
    view = browser.new_page(viewport={"width": 1400, "height": 900})
    view.goto((folder / "12/index.html").as_uri())
    reached = []
    for _ in range(12):
        view.keyboard.press("Tab")
        reached.append(
            view.evaluate("document.activeElement.id || document.activeElement.className")
        )
    wanted = ["skip", "by-name", "by-class", "least", "most", "order", "opacity", "strength"]
    assert [name for name in reached if name in wanted] == wanted
    view.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing_serious(browser: Any, folder: Path, scheme: str) -> None:
    axe = axe_source()
    if axe is None:
        pytest.skip(AXE_IS_MISSING)
    view = browser.new_page(viewport={"width": 800, "height": 900}, color_scheme=scheme)
    found = {}
    for place in [*(folder / path for path in PAGES), ROOT / WRITTEN[0]]:
        view.goto(place.as_uri())
        # In the dark, the same page has other colours and nothing else.
        barred = barriers(view, axe, COLOUR_RULES if scheme == "dark" else ())
        serious = [each for each in barred if each[0] in ("serious", "critical")]
        found[place.name] = serious
    view.close()
    assert {name: serious for name, serious in found.items() if serious} == {}
