"""The page in Debian's Chromium, driven by Playwright; skipped where either is absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reporting import evaluation_material as material
from ttame.reporting.evaluation_report import write_evaluation_report

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PAGES = ("realistic", "crowd", "tiny", "nothing_measured", "unusual_names", "missing_scores")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    for name in PAGES:
        evaluation = getattr(material, name)()
        write_evaluation_report(made / f"{name}.html", evaluation, material.gallery(evaluation, 2))
    return made


@pytest.fixture
def open_page(browser: Any, folder: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page; afterwards nothing may have been complained about or asked for."""
    complaints: list[str] = []
    asked: list[str] = []
    opened = []

    def open_one(name: str, width: int = 1400, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / f"{name}.html").as_uri())
        opened.append(page)
        return page

    yield open_one
    for page in opened:
        page.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(opened)


def first_column(page: Any) -> list[str]:
    titles: list[str] = page.locator(".scores tbody th bdi").all_inner_texts()
    return titles


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [400, 1400])
def test_no_page_is_wider_than_the_screen(
    open_page: Callable[..., Any], name: str, width: int
) -> None:
    page = open_page(name, width, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_heading_sorts_best_first_and_then_the_other_way(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    assert first_column(page)[0] == "T-TAME"
    heading = page.get_by_role("columnheader", name="ROAD")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.locator("[aria-sort]").count() == 1
    ordered = first_column(page)
    assert (ordered[0], ordered[-1]) == ("T-TAME", "Attention Rollout")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert first_column(page) == ordered[::-1]
    # Where higher is better, the first click puts the highest on top.
    insertion = page.get_by_role("columnheader", name="Insertion")
    insertion.get_by_role("button").click()
    assert insertion.get_attribute("aria-sort") == "descending"
    assert first_column(page)[0] == "T-TAME"
    assert page.locator("#sorted").inner_text() == "Sorted by Insertion, descending"


def test_the_table_sorts_by_keyboard_and_by_number_not_by_letters(
    open_page: Callable[..., Any],
) -> None:
    page = open_page("realistic")
    page.get_by_role("columnheader", name="time").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert first_column(page)[:3] == ["Centre Gaussian", "Random map", "T-TAME"]
    page.keyboard.press("Space")
    assert first_column(page)[:2] == ["RISE", "Score-CAM"]


def test_missing_numbers_come_last_both_ways(open_page: Callable[..., Any]) -> None:
    page = open_page("missing_scores")
    button = page.get_by_role("columnheader", name="Deletion").get_by_role("button")
    for _ in range(2):
        button.click()
        assert set(first_column(page)[-2:]) == {"T-TAME", "Grad-CAM"}


def test_families_are_hidden_everywhere(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    page.get_by_label("baseline").uncheck()
    assert page.locator(".scores tbody tr:visible").count() == 7
    assert page.locator('[data-family="baseline"]:visible').count() == 0
    page.get_by_label("baseline").check()
    assert page.locator(".scores tbody tr:visible").count() == 9


def test_a_pressed_method_stands_out_in_every_chart(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    button = page.locator(".strip button", has_text="Score-CAM")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    number = button.get_attribute("data-method")
    lit = page.locator("svg .method.lit")
    assert lit.count() == page.locator(f'svg .method[data-method="{number}"]').count()
    page.get_by_role("button", name="Highlight none").click()
    page.mouse.move(0, 0)
    assert page.locator(".choosing").count() == 0


def test_of_many_methods_the_best_stand_out_from_the_start(open_page: Callable[..., Any]) -> None:
    page = open_page("crowd")
    pressed = page.locator(".strip [aria-pressed=true]").all_inner_texts()
    assert {"Random map", "Centre Gaussian"} < set(pressed)
    assert len(pressed) < 10


def test_the_column_against_cost_can_be_chosen(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    assert page.locator(".chart .column:visible").count() == 1
    page.get_by_role("combobox", name="Column").select_option(index=3)
    shown = page.locator(".chart .column:visible")
    assert shown.get_attribute("data-column") == "3"
    assert "0.560" in (shown.locator(".method").first.get_attribute("aria-label") or "")


def test_the_keyboard_reaches_everything_and_sees_where_it_is(
    open_page: Callable[..., Any],
) -> None:
    page = open_page("realistic")
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => { const on = document.activeElement;
                return [on.tagName + "." + on.className, on === document.body ||
                parseFloat(getComputedStyle(on).outlineWidth) > 0] }"""
            )
        )
        if reached[-1][0].startswith("PRE"):
            break
    names = [name for name, _ in reached]
    assert all(seen for _, seen in reached)
    assert names[0] == "A.skip"
    assert {"DIV.scroll", "SELECT.", "INPUT.", "SUMMARY."} <= set(names)
    # One stop for each photo, not one for each picture.
    assert names.count("BUTTON.stage") == 2
    assert names[-1] == "PRE."


def test_arrow_keys_go_through_the_pictures_and_enter_enlarges(
    open_page: Callable[..., Any],
) -> None:
    page = open_page("realistic")
    page.locator(".stage").first.focus()
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("T-TAME for tabby & cat 0")
    page.keyboard.press("Enter")
    assert page.locator("#large-caption").inner_text() == focused
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == focused


def test_names_are_never_run(open_page: Callable[..., Any]) -> None:
    page = open_page("unusual_names")
    assert page.locator("script").count() == 1
    assert "<script>alert('1')</script>" in page.locator(".answer").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_page: Callable[..., Any], scheme: str) -> None:
    page = open_page("realistic", scheme=scheme)
    ratios = page.evaluate(
        """() => {
        const light = (text) => {
            const [r, g, b] = text.match(/[\\d.]+/g).map((part) => part / 255)
                .map((c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        const paper = (part) => { for (; part; part = part.parentElement) {
            const colour = getComputedStyle(part).backgroundColor;
            if (!colour.endsWith(", 0)")) return colour; } };
        return [...document.querySelectorAll(
            ".answer, .remark, td .value, td small, .mark, .failed, .passed, .named, .direct text")]
            .map((part) => {
                const style = getComputedStyle(part);
                const ink = light(part.closest("svg") ? style.fill : style.color);
                const ground = light(paper(part));
                const [low, high] = [Math.min(ink, ground), Math.max(ink, ground)];
                return [(high + .05) / (low + .05), part.className.baseVal ?? part.className];
            });
        }"""
    )
    assert len(ratios) > 100
    assert min(ratios)[0] >= 4.5, min(ratios)


def test_the_picture_shows_the_measure_that_is_chosen(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    assert page.locator(".measure:visible").get_attribute("data-measure") == "0"
    page.get_by_role("combobox", name="Measure").select_option(index=3)
    assert page.locator(".measure:visible").get_attribute("data-measure") == "3"
    assert "0.560" in page.locator(".measure:visible li").first.inner_text()


def test_numbers_are_explained_from_the_keyboard(open_page: Callable[..., Any]) -> None:
    page = open_page("realistic")
    page.locator(".scores th[aria-sort] button").focus()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.tagName") != "TD":
        page.keyboard.press("Tab")
    hint = page.locator("#hint")
    assert hint.inner_text().startswith("T-TAME, Average Drop at 100 % kept: 19.5, over 100")
    page.keyboard.press("ArrowDown")
    assert "Score-CAM" in hint.inner_text() and "not significantly different" in hint.inner_text()
    page.keyboard.press("ArrowRight")
    assert hint.inner_text().startswith("Score-CAM, Average Drop at 15 % kept")
    page.keyboard.press("Escape")
    assert hint.is_hidden()


def test_a_table_that_goes_on_beyond_the_edge_says_so(open_page: Callable[..., Any]) -> None:
    assert open_page("realistic", width=700).locator(".sideways").is_visible()
    assert open_page("tiny").locator(".sideways").is_hidden()
