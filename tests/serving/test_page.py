"""The page in Debian's Chromium, driven by Playwright; skipped where either is absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.page_pictures import axe_source, barriers
from tests.serving.tiny_server import content, explainers, photo
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.explainers.known_explainers import make_explainer
from ttame.images.saliency_maps import to_unit_range
from ttame.serving.app import make_app
from ttame.serving.served_network import TorchNetwork
from ttame.serving.server import run_in_thread
from ttame.serving.settings import ServingSettings
from ttame.version import __version__

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PHOTO = {"name": "<img src=x>.png", "mimeType": "image/png", "buffer": content()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    sample = tmp_path_factory.mktemp("samples") / "sample.png"
    sample.write_bytes(content(photo(3)))
    settings = ServingSettings(port=0, largest_upload=2_000_000)
    app = make_app(TorchNetwork(explainers()), settings, [sample])
    where, stop = run_in_thread(app, settings)
    yield where
    stop()


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; afterwards nothing may have been complained about or asked of others."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def open_one(width: int = 1200, **look: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **look)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#work:not([hidden])")
        contexts.append(context)
        return page

    yield open_one
    for context in contexts:
        context.close()
    complaints = [each for each in complaints if "422" not in each and "415" not in each]
    assert complaints == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def explained(page: Any) -> Any:
    page.set_input_files("#files", files=[PHOTO])
    page.wait_for_selector("[data-ready=true]")
    return page


def choose(page: Any, method: str) -> None:
    page.locator(f".methods input[value={method}]").check()
    page.wait_for_selector(f"[data-method={method}][data-ready=true]")


def test_a_photo_is_explained_and_a_click_shows_another_class(open_page: Any) -> None:
    page = explained(open_page())
    expected = explainers()["cam"](photo(), classes="top2")
    names = page.locator(".classes .name").all_inner_texts()
    assert names[:2] == [expected.target_label(0, place) for place in range(2)]
    assert page.locator("#why").inner_text() == names[0]
    sure = page.locator(".classes .percent").first.inner_text()
    assert page.locator("#what").inner_text() == f"{sure}: what speaks for it"
    with _no_request(page):
        page.locator(".classes button").nth(1).click()
        page.wait_for_selector(f".classes [aria-pressed=true] >> text={names[1]}")
    assert page.locator("#why").inner_text() == names[1]
    # The name of the file is text.
    assert page.locator("img[src=x]").count() == 0


class _no_request:  # noqa: N801
    """All classes came with the one pass: a click asks for nothing."""

    def __init__(self, page: Any) -> None:
        self.page, self.asked = page, []

    def __enter__(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))

    def __exit__(self, *_: Any) -> None:
        assert [each for each in self.asked if "/v1/" in each] == []


def test_methods_stand_side_by_side_and_compare_classes(open_page: Any) -> None:
    page = explained(open_page())
    choose(page, "grad_cam")
    choose(page, "rise")
    assert page.locator(".views figure").count() == 3
    shown, other = page.locator(".classes .name").all_inner_texts()[:2]
    page.fill("#rather", other)
    page.locator("#rather").press("Tab")
    page.wait_for_selector(f"text={shown} rather than {other}")
    page.wait_for_selector("figure[data-method=grad_cam][data-ready=true]")
    page.fill("#other", "kind 99")
    page.locator("#other").press("Tab")
    assert page.locator("#notice").inner_text() == "There is no class called “kind 99”."


def test_a_part_of_a_name_is_a_class_or_a_question(open_page: Any) -> None:
    page = explained(open_page())
    names = [f"kind {index}" for index in range(7)]
    page.fill("#other", "D 2")
    page.locator("#other").press("Tab")
    page.wait_for_selector(f".classes [aria-pressed=true] >> text={names[2]}")
    page.fill("#rather", "IND")
    page.locator("#rather").press("Tab")
    assert f"Did you mean “{names[0]}”, “{names[1]}”" in page.locator("#notice").inner_text()


def test_what_was_cut_off_cannot_be_hidden_and_is_uncovered_again(open_page: Any) -> None:
    page = open_page()
    wide = {**PHOTO, "buffer": content(photo(size=(400, 40)))}
    page.set_input_files("#files", files=[wide])
    page.wait_for_selector("[data-ready=true]")
    page.locator("#cover").scroll_into_view_if_needed()
    box = page.locator("#cover").bounding_box()
    page.mouse.move(box["x"] + 0.02 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.up()
    page.wait_for_selector("text=that part was cut off before the network looked")
    page.locator("#clear").click()
    page.wait_for_selector("text=Nothing is hidden yet.")
    # The share is hidden by the map that is shown, of the class that is shown.
    choose(page, "grad_cam")
    page.select_option("#by", "grad_cam")
    page.locator("#share").fill("50")
    page.wait_for_selector(".verdict b")
    page.locator(".classes button").nth(1).click()
    page.wait_for_selector("figure[data-method=grad_cam][data-ready=true]")
    label = page.locator(".classes .name").nth(1).inner_text()
    page.wait_for_selector(f".verdict >> text={label}")
    assert page.locator("#by").input_value() == "grad_cam"


def test_pasted_dropped_and_sample_photos_are_taken_and_bad_ones_refused(open_page: Any) -> None:
    page = open_page()
    event = """([kind, type, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "a.png", { type }));
      const options = { bubbles: true, cancelable: true };
      const event = kind === "paste" ? new ClipboardEvent(kind, { ...options, clipboardData: data })
        : new DragEvent(kind, { ...options, dataTransfer: data });
      document.body.dispatchEvent(event);
    }"""
    page.evaluate(event, ["paste", "image/png", list(content())])
    page.wait_for_selector("[data-ready=true]")
    page.evaluate(event, ["drop", "image/png", list(content(photo(1)))])
    page.wait_for_selector(".strip li:nth-child(2)")
    page.locator("[data-sample]").click()
    page.wait_for_selector(".strip li:nth-child(3)")
    page.evaluate(event, ["drop", "image/png", list(b"no photo")])
    page.wait_for_selector("#notice:not([hidden])")
    assert "not a photo" in page.locator("#notice").inner_text()
    page.evaluate(event, ["drop", "text/plain", [1]])
    assert "not a photo" in page.locator("#notice").inner_text()
    assert page.locator(".strip li").count() == 3


def test_hiding_by_hand_and_by_keyboard_changes_the_prediction(open_page: Any) -> None:
    page = explained(open_page())
    page.locator("#share").fill("100")
    page.wait_for_selector(".verdict b")
    assert "100% hidden" in page.locator(".verdict").inner_text()
    classifier = explainers()["cam"].classifier
    image = classifier.prepare(photo())
    after = float(classifier.probabilities(0 * image)[0, classifier.logits(image).argmax()])
    assert page.locator(".verdict b").inner_text().endswith(f"{round(100 * after)}%")
    page.locator("#clear").click()
    page.wait_for_selector("text=Nothing is hidden yet.")
    page.focus("#cover")
    for key in ("Enter", "ArrowLeft", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_selector(".verdict b")
    page.keyboard.press("Delete")
    page.wait_for_selector("text=Nothing is hidden yet.")
    box = page.locator("#cover").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.7 * box["height"])
    page.mouse.up()
    page.wait_for_selector(".verdict b")


def test_what_is_seen_can_be_taken_away(open_page: Any, tmp_path: Path) -> None:
    page = explained(open_page())
    choose(page, "grad_cam")
    saved = {}
    for name in ("picture", "data", "page"):
        with page.expect_download() as download:
            page.locator(f"[data-save={name}]").click()
        saved[name] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[name])
    data = json.loads(saved["data"].read_text(encoding="utf-8"))
    expected = explainers()["cam"](photo())
    assert [each["method"] for each in data["maps"]] == ["cam", "grad_cam"]
    values = np.array(data["maps"][0]["values"]).reshape(4, 4)
    # The page draws the numbers that Python computes.
    assert np.allclose(values, to_unit_range(expected.maps)[0, 0], atol=1e-3)
    assert saved["picture"].read_bytes()[:4] == b"\x89PNG"
    text = saved["page"].read_text(encoding="utf-8")
    assert "&#60;img src=x&#62;.png" in text
    assert "Colour scale" in text and f"Made with ttame {__version__}" in text
    assert data["made"].startswith(f"ttame {__version__}") and data["maps"][1]["options"]
    assert "<img src=x" not in text and "<script" not in text and "http://" not in text


def test_a_slow_method_says_how_far_it_is_and_can_be_cancelled(browser: Any) -> None:
    classifier = tiny_cnn()
    slow = {
        "cam": make_explainer("cam", classifier),
        "grad_cam": make_explainer("grad_cam", classifier),
        "rise": make_explainer("rise", classifier, masks=200_000),
    }
    settings = ServingSettings(port=0)
    where, stop = run_in_thread(make_app(TorchNetwork(slow), settings), settings)
    page = browser.new_page()
    page.goto(where)
    page.wait_for_selector("#work:not([hidden])")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    explained(page).locator(".methods input[value=rise]").check()
    page.wait_for_selector("text=/RISE: [0-9]+ of 200000 passes/")
    # It holds up nobody, and goes on when another class is looked at: it explains all of them.
    page.locator(".methods input[value=grad_cam]").check()
    page.wait_for_selector("[data-method=grad_cam][data-ready=true]")
    page.locator(".classes button").nth(1).click()
    page.wait_for_selector("[data-method=grad_cam][data-ready=true]")
    assert page.locator("[data-method=rise][aria-busy=true] >> text=on its way").count() == 1
    assert asked.count("POST") == 4  # The photo, RISE, and Grad-CAM of two classes.
    page.locator("#cancel").click()
    page.wait_for_selector(".working", state="hidden")
    assert not page.locator(".methods input[value=rise]").is_checked()
    page.close()
    stop()  # It would take minutes if the method went on.


@pytest.mark.parametrize("width", [390, 800, 1400])
def test_it_fits_the_screen_dark_and_without_motion(open_page: Any, width: int) -> None:
    look = {"color_scheme": "dark", "reduced_motion": "reduce", "bypass_csp": True}
    page = explained(open_page(width, **look))
    choose(page, "grad_cam")
    if axe := axe_source():
        assert [each for each in barriers(page, axe) if each[0] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    durations = page.locator(".classes .bar span").first.evaluate(
        "element => getComputedStyle(element).transitionDuration"
    )
    assert durations == "0s"


def test_everything_is_reached_by_keyboard(open_page: Any) -> None:
    page = explained(open_page())
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.id || document.activeElement.value || "
                "document.activeElement.dataset.save || document.activeElement.dataset.index || "
                "document.activeElement.className"
            )
        )
    wanted = {"choose", "opacity", "scale", "other", "rather", "cam", "rise", "cover", "share"}
    assert wanted | {"by", "picture", "data", "page", "0", "skip"} <= reached


def test_a_token_is_asked_for_and_findings_are_independent(browser: Any) -> None:
    network = tiny_cnn()
    classifier = Classifier(network.network, preprocessing=network.preprocessing, outputs="sigmoid")
    settings = ServingSettings(port=0, token="sesame")
    served = TorchNetwork({"cam": make_explainer("cam", classifier)})
    where, stop = run_in_thread(make_app(served, settings), settings)
    page = browser.new_page()
    page.goto(where)
    for token in ("simsim", "sesame"):
        page.wait_for_selector("#sign-in:not([hidden])")
        page.fill("#token", token)
        page.keyboard.press("Enter")
        if token == "simsim":
            page.wait_for_selector("text=That is not this server's token.")
    page.wait_for_selector("#work:not([hidden])")
    explained(page)
    found = classifier.probabilities(classifier.prepare(photo()))[0]
    count = int((found >= 0.5).sum())
    assert page.locator("#findings").inner_text().startswith(f"{count or 'None'} of these findings")
    page.fill("#other", str(int(found.argmin())))
    page.locator("#other").press("Tab")
    page.wait_for_selector(f".classes [aria-pressed=true] >> text=class {int(found.argmin())}")
    page.close()
    stop()
