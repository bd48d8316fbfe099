"""The pages of texts in Debian's Chromium, driven by Playwright; skipped without either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.page_pictures import AXE_IS_MISSING, COLOUR_RULES, axe_source, barriers, chromium
from tests.reporting.test_page_template import Outline
from tests.reporting.texts.text_report_material import text_report
from tests.results.text_material import HOSTILE, explained
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.texts.text_report import TextReportFacts

TEXTS = ("a great film", HOSTILE, "هذا great جدا", "bad " * 120, "better not")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "why"
    methods = ("one", "two")
    facts = TextReportFacts(
        {name: {"classifier": "by hand"} for name in methods},
        {"one": MethodLabel("One"), "two": MethodLabel("Two", one_map=True)},
        left_out={"cam": "it has no head"},
    )
    with text_report(folder, facts) as report:
        batches = [explained(*TEXTS, method="one"), explained(*TEXTS, method="two", signed=False)]
        for index in range(len(TEXTS)):
            report.add(f"line {index + 1}", batches, index)
        report.skip("line 9", "line 9 has 900 tokens")
    return folder / "index.html"


def test_the_page_says_its_language_its_order_and_the_name_of_every_field(page: Path) -> None:
    outline = Outline(page.read_text(encoding="utf-8"))
    assert outline.language == "en" and outline.faults == []
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


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


@pytest.fixture
def view(browser: Any, page: Path) -> Iterator[Any]:
    complaints: list[str] = []
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda problem: complaints.append(str(problem)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.goto(page.as_uri())
    yield opened
    opened.close()
    assert complaints == []


def drawn(view: Any, place: int) -> float:
    """Alpha of the first mark of the class at a place, by the first method."""
    found: str = view.locator("#text-1").evaluate(
        """(heading, place) => getComputedStyle(heading.closest("article")
           .querySelectorAll(".class")[place].querySelector("mark")).backgroundColor""",
        place,
    )
    return float(found.rpartition("/")[2].rstrip(") "))


def test_strength_can_be_chosen(view: Any) -> None:
    likely, unlikely = drawn(view, 0), drawn(view, 1)
    assert likely == pytest.approx(0.85, abs=0.01) and unlikely == pytest.approx(0.75, abs=0.01)
    view.select_option("#strength", "shared")
    assert drawn(view, 0) == likely
    assert drawn(view, 1) == pytest.approx(unlikely / 2, abs=0.01)
    view.select_option("#strength", "probability")
    assert drawn(view, 1) == pytest.approx(unlikely * 0.1824 / 0.8176, abs=0.01)
    view.select_option("#strength", "own")
    assert drawn(view, 1) == unlikely


def test_texts_are_found_and_methods_can_be_left_out(view: Any) -> None:
    view.fill("#by-name", "BETTER")
    assert view.locator(".card:not([hidden]) h2 bdi").all_text_contents() == ["better not"]
    assert view.locator("#found").inner_text() == "1 of 5"
    view.fill("#by-name", "")
    assert view.locator(".card:not([hidden])").count() == 5
    view.locator(".chosen-methods input").first.uncheck()
    assert view.locator("#text-1 >> xpath=../.. >> figure:visible").count() == 2


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(view: Any, width: int) -> None:
    view.set_viewport_size({"width": width, "height": 900})
    assert view.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, page: Path, scheme: str) -> None:
    axe = axe_source()
    if axe is None:
        pytest.skip(AXE_IS_MISSING)
    view = browser.new_page(viewport={"width": 800, "height": 900}, color_scheme=scheme)
    view.goto(page.as_uri())
    found = barriers(view, axe, COLOUR_RULES if scheme == "dark" else ())
    view.close()
    assert [each for each in found if each[0] in ("serious", "critical")] == []
