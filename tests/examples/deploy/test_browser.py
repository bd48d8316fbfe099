"""The page without a server, in Debian's Chromium; skipped without onnxruntime-web."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.tiny_networks import tiny_cnn
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.export_explainer import export_explainer

playwright = pytest.importorskip("playwright.sync_api")
PAGE = Path(__file__).parents[3] / "examples" / "deploy" / "browser"
PACKAGES = Path(os.environ.get("TTAME_NODE_MODULES", PAGE / "node_modules"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(
        not (PACKAGES / "onnxruntime-web").is_dir(),
        reason="no onnxruntime-web: npm install in examples/deploy/browser",
    ),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a small file and a photo that needs no resizing."""
    made = tmp_path_factory.mktemp("browser")
    for name in ("index.html", "explain.js"):
        shutil.copy(PAGE / name, made / name)
    (made / "node_modules").symlink_to(PACKAGES)
    explainer = make_explainer("cam", tiny_cnn())
    export_explainer(explainer, made / "why.onnx")
    side = explainer.classifier.preprocessing.resize
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(made / "photo.png")
    return made


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page()
        opened.complaints = []
        opened.on("pageerror", lambda problem: opened.complaints.append(str(problem)))
        opened.goto(address)
        yield opened
        browser.close()


def test_it_says_what_ttame_says(page: Any, folder: Path) -> None:
    page.get_by_text("Ready.").wait_for(timeout=60_000)
    page.get_by_label("A photo").set_input_files(folder / "photo.png")
    page.get_by_text("Explained in").wait_for(timeout=60_000)
    explainer = make_explainer("cam", tiny_cnn())
    expected = explainer([folder / "photo.png"], "top3")
    lines = page.locator("figcaption").all_text_contents()
    assert len(lines) == 3
    for line, index in zip(lines, expected.classes[0].tolist(), strict=True):
        value, name = line.split(" ", 1)
        assert name == explainer.classifier.class_label(index)
        assert abs(float(value) - float(expected.probabilities[0, index])) < 2e-4
    size = page.locator("canvas").first.evaluate("canvas => [canvas.width, canvas.height]")
    assert size == list(reversed(explainer.classifier.preprocessing.input_size))
    assert page.complaints == []


def test_colour_stands_where_the_map_is_high(page: Any, folder: Path) -> None:
    maps = make_explainer("cam", tiny_cnn())([folder / "photo.png"]).maps[0, 0]
    highest = divmod(int(maps.argmax()), maps.shape[1])
    lowest = divmod(int(maps.argmin()), maps.shape[1])
    colourful = page.locator("canvas").first.evaluate(
        """(canvas, [rows, columns, places]) => places.map(([row, column]) => {
            const [height, width] = [canvas.height / rows, canvas.width / columns];
            const { data } = canvas.getContext("2d").getImageData(
                column * width, row * height, width, height);
            let sum = 0;
            for (let i = 0; i < data.length; i += 4) sum += Math.abs(data[i] - data[i + 1]);
            return sum;
        })""",
        [*maps.shape, [highest, lowest]],
    )
    assert colourful[0] > 1.5 * colourful[1]


def test_a_file_that_is_no_photo_is_a_sentence(page: Any, folder: Path) -> None:
    (folder / "letter.txt").write_text("no photo")
    page.get_by_label("A photo").set_input_files(folder / "letter.txt")
    page.get_by_text("cannot be explained").wait_for(timeout=10_000)
