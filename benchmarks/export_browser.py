"""How long the page of ``examples/deploy/browser`` takes for a photo, in headless Chromium.

cd examples/deploy/browser && npm install
python -m benchmarks.export_browser --data PHOTOS    # the numbers; python -m benchmarks.export
                                                     # writes them into BENCHMARKS.md

The file is EfficientNet-Lite0 with its few-shot explainer in 8 bits, and in float32.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import http.server
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import Page, sync_playwright

import ttame
from benchmarks.benchmark_page import median
from benchmarks.export import VALUES, spread

PAGE = Path(__file__).parent.parent / "examples" / "deploy" / "browser"
PACKAGES = Path(os.environ.get("TTAME_NODE_MODULES", PAGE / "node_modules"))
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page fetches of onnxruntime-web."""

PHOTOS = 9


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of photos")
    typed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    photos = spread(sorted(map(str, Path(typed.data).rglob("*.jp*g"))))
    found: dict[str, Any] = {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("index.html", "explain.js"):
            shutil.copy(PAGE / file, folder / file)
        (folder / "node_modules").symlink_to(PACKAGES)
        runtime = PACKAGES / "onnxruntime-web" / "dist"
        found["runtime bytes"] = sum((runtime / file).stat().st_size for file in RUNTIME)
        explainer = ttame.load_explainer("efficientnet_lite0")
        for kind, calibration in (("int8", photos[::2]), ("float32", [])):
            ttame.export_explainer(explainer, folder / "why.onnx", int8=calibration, overwrite=True)
            times = milliseconds(folder, photos[1 : 2 * PHOTOS : 2])
            found[kind] = {
                "bytes": (folder / "why.onnx").stat().st_size,
                "first": times[0],
                "median": median(times[1:]),
            }
    (VALUES / "browser.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        del format, args


def milliseconds(folder: Path, photos: Sequence[str]) -> list[float]:
    """From pixels to classes and maps, of each photo."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.get_by_text("Ready.").wait_for(timeout=120_000)
        found = [one(page, photo) for photo in photos]
        browser.close()
    server.shutdown()
    server.server_close()
    return found


def one(page: Page, photo: str) -> float:
    """One photo."""
    page.evaluate("document.getElementById('state').textContent = ''")
    page.get_by_label("A photo").set_input_files(photo)
    words = page.get_by_text("Explained in")
    words.wait_for(timeout=60_000)
    number = re.search(r"in (\d+) ms", words.text_content() or "")
    assert number is not None
    return float(number[1])


if __name__ == "__main__":
    main()
