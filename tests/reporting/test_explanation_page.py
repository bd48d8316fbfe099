"""The pages of many photos in Debian's Chromium, driven by Playwright; skipped without either."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.large_page import InventedEntries, write_invented_pages
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.explanation_page import write_pages
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.report_contents import ReportFacts

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


class BySeveralMethods(InventedEntries):
    """The invented photos, as three methods explain them."""

    NAMES = ("first", "second", "third")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for entry in super().__iter__():
            entry["files"] = {"pictures": [], "maps": dict.fromkeys(self.NAMES, "maps/one")}
            for shown in entry["classes"]:
                shown["tiles"] = [{**shown["tiles"][0], "title": name} for name in self.NAMES]
            yield entry


def write_pages_of_several_methods(folder: Path, count: int) -> None:
    facts = ReportFacts(
        Preprocessing.imagenet(224),
        methods={name: {"classifier": "invented"} for name in BySeveralMethods.NAMES},
        labels={name: MethodLabel(name) for name in BySeveralMethods.NAMES},
    )
    write_pages(folder, facts.as_json(), facts.preprocessing, BySeveralMethods(count), [])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for count in (12, 400):
        (made / str(count)).mkdir()
        write_invented_pages(made / str(count), count)
    (made / "several").mkdir()
    write_pages_of_several_methods(made / "several", 130)
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, folders: Path) -> Iterator[Any]:
    complaints: list[str] = []
    pages = []

    def open_one(path: str, width: int = 1200) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.goto((folders / path).as_uri())
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert complaints == []


def headings(page: Any) -> list[str]:
    found: list[str] = page.locator(".card:not([hidden]) h2 bdi").all_text_contents()
    return found


def test_photos_are_found_by_name_class_and_probability(open_page: Any) -> None:
    page = open_page("12/index.html")
    assert len(headings(page)) == page.locator(".thumbs a").count() == 12
    page.fill("#by-name", "0003")
    assert headings(page) == ["photo 00003.jpg"]
    assert page.locator("#found").inner_text() == "1 of 12 photos."
    page.fill("#by-name", "")
    page.fill("#by-class", "CLASS 71")
    # The tenth photo has class 70 to 72.
    assert headings(page) == ["photo 00010.jpg"]
    page.fill("#by-class", "")
    page.fill("#least", "70")
    certain = len(headings(page))
    assert 0 < certain < 12
    page.fill("#least", "0")
    page.fill("#most", "70")
    assert len(headings(page)) == 12 - certain


def test_the_order_can_be_chosen(open_page: Any) -> None:
    page = open_page("12/index.html")
    page.select_option("#order", "sure")
    shares = [float(text.rstrip("%")) for text in page.locator(
        ".card figure:nth-child(2) .percent"
    ).all_text_contents()]  # fmt: skip
    assert shares == sorted(shares, reverse=True)
    page.select_option("#order", "name")
    assert headings(page) == sorted(headings(page))


def test_only_thumbnails_in_view_are_in_the_page(open_page: Any) -> None:
    page = open_page("400/index.html")
    assert 9 < page.locator(".thumbs a").count() < 150
    page.evaluate("scrollTo(0, document.querySelector('.thumbs').offsetHeight)")
    page.get_by_text("photo 00399.jpg").wait_for(timeout=10_000)
    assert page.locator(".thumbs a").count() < 150
    assert page.get_by_text("photo 00100.jpg").count() == 0


def test_the_keyboard_goes_from_thumbnail_to_photo(open_page: Any) -> None:
    page = open_page("400/index.html")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "by-name"
    page.locator(".thumbs a").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.textContent").startswith("photo 00399.jpg")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/7.html#image-400", timeout=10_000)
    assert page.locator("#image-400").inner_text() == "photo 00399.jpg"
    page.get_by_role("link", name="All photos").first.click()
    page.wait_for_url("**/index.html", timeout=10_000)


def test_maps_fade_when_asked_to(open_page: Any) -> None:
    page = open_page("12/index.html")
    heat = page.locator(".card figure:nth-child(4) .heat").first
    before = float(heat.evaluate("on => getComputedStyle(on).opacity"))
    page.get_by_label("Strength").select_option("probability")
    after = float(heat.evaluate("on => getComputedStyle(on).opacity"))
    assert before == pytest.approx(0.8) and after < 0.5


def test_methods_that_are_hidden_stay_hidden_on_the_other_pages(open_page: Any) -> None:
    page = open_page("several/index.html")
    page.get_by_role("checkbox", name="second").uncheck()
    page.fill("#by-name", "00070")
    page.locator(".thumbs a").click()
    page.wait_for_url("**/pages/2.html?methods=0,2#image-71", timeout=10_000)
    shown = page.locator("#image-71").locator("xpath=ancestor::article").locator("section").first
    assert shown.locator("figure[data-method]:visible .name").all_text_contents() == [
        "first",
        "third",
    ]
    page.get_by_role("link", name="Next page").first.click()
    page.wait_for_url("**/pages/3.html?methods=0,2", timeout=10_000)
    page.get_by_role("checkbox", name="second").check()
    page.get_by_role("link", name="All photos").first.click()
    page.wait_for_url("**/index.html", timeout=10_000)
    assert page.locator(".chosen-methods input:checked").count() == 3


def test_a_contrast_is_shown_when_asked_for(open_page: Any) -> None:
    page = open_page("12/index.html")
    heat, other = page.locator(".heat").first, page.locator(".other").first
    own = heat.get_attribute("src")
    assert not other.is_visible()
    page.get_by_label("Strength").select_option("contrast")
    assert heat.get_attribute("src") == heat.get_attribute("data-contrast") != own
    assert other.inner_text().startswith("rather than class")
    page.get_by_label("Strength").select_option("own")
    assert heat.get_attribute("src") == own and not other.is_visible()


@pytest.mark.parametrize("path", ["12/index.html", "400/index.html", "400/pages/2.html"])
@pytest.mark.parametrize("width", [390, 1400])
def test_no_page_is_wider_than_the_screen(open_page: Any, path: str, width: int) -> None:
    page = open_page(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
