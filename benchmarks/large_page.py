"""A page of many photos in headless Chromium: how long it takes to open, and whether it scrolls.

    python -m benchmarks.large_page [--photos 10000] [--keep FOLDER]

The records are invented: photos of noise with one of a hundred thumbnails each. Prints the size of
the page, the seconds until the thumbnails can be seen, and the longest frame while scrolling. The
goal is 2 seconds for 10,000 photos.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ttame.images.preprocessing import Preprocessing
from ttame.reporting.embedded_pictures import heat_address, photo_address, thumbnail_address
from ttame.reporting.explanation_page import write_pages
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.report_contents import ReportFacts

DIFFERENT = 100
"""Pictures that are made; photos share them."""


class InventedEntries:
    """What the pages show of each photo, made when it is asked for.

    Args:
        count: of photos.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pictures = [_pictures(number) for number in range(min(count, DIFFERENT))]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        generator = np.random.default_rng(0)
        for number in range(self._count):
            photo, thumbnail, heat, pale = self._pictures[number % len(self._pictures)]
            shares = np.sort(generator.dirichlet([0.5] * 4))[::-1]
            yield {
                "name": f"shelf {number % 50}/photo {number:05d}.jpg",
                "heading": f"photo {number:05d}.jpg",
                "remark": "",
                "files": {"pictures": [], "maps": {"invented": f"maps/{number}.safetensors"}},
                "photo": photo,
                "thumbnail": thumbnail,
                "aspect": "4 / 3",
                "wide": False,
                "inset": "0% 12.5% 0% 12.5%",
                "framed": True,
                "classes": [
                    {
                        "name": f"class {(number * 7 + place) % 1000}",
                        "percent": f"{100 * share:.1f}%",
                        "width": f"{100 * share:.2f}%",
                        "probability": float(share),
                        "strength": f"{share / shares[0]:.4f}",
                        "rank": place + 1,
                        "mark": "",
                        "other": f"class {(number * 7 + (not place)) % 1000}",
                        "tiles": [
                            {"title": "invented", "remark": "", "heat": heat, "contrast": pale}
                        ],
                    }
                    for place, share in enumerate(shares[:3])
                ],
            }


def write_invented_pages(folder: Path, count: int) -> Path:
    """Write the pages of a report of ``count`` photos; return the first one."""
    facts = ReportFacts(
        Preprocessing.imagenet(224),
        f"{count} photos",
        methods={"invented": {"classifier": "invented"}},
        labels={"invented": MethodLabel("invented")},
    )
    write_pages(folder, facts.as_json(), facts.preprocessing, InventedEntries(count), _Nothing())
    return folder / "index.html"


def measured(page: Path) -> dict[str, float]:
    """Seconds until thumbnails are drawn, and milliseconds of the longest frame of scrolling."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        view = browser.new_page(viewport={"width": 1400, "height": 900})
        began = time.monotonic()
        view.goto(page.as_uri(), wait_until="commit")
        view.wait_for_selector(".thumbs a img", timeout=60_000)
        seconds = time.monotonic() - began
        longest = view.evaluate(
            """async () => {
            let longest = 0, before = performance.now();
            const end = document.querySelector(".thumbs").offsetHeight;
            for (let step = 0; step <= 60; step += 1) {
                scrollTo(0, end * step / 60);
                await new Promise(requestAnimationFrame);
                const now = performance.now();
                longest = Math.max(longest, now - before);
                before = now;
            }
            return longest; }"""
        )
        began = time.monotonic()
        view.fill("#by-class", "class 77")
        filtering = time.monotonic() - began
        elements = view.evaluate("document.querySelectorAll('.thumbs a').length")
        browser.close()
    return {
        "open_s": seconds,
        "longest_frame_ms": longest,
        "filter_s": filtering,
        "thumbnails_in_page": elements,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="leave the pages in this folder")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        page = write_invented_pages(folder, options.photos)
        print(f"{options.photos} photos: index.html has {page.stat().st_size / 1e6:.1f} MB")
        for name, value in measured(page).items():
            print(f"{name} {value:.3g}")


class _Nothing:
    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(())


def _pictures(number: int) -> tuple[str, str, str, str]:
    """A photo, its thumbnail, a heatmap and a contrast."""
    generator = np.random.default_rng(number)
    coarse = Image.fromarray(generator.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    photo = coarse.resize((128, 96), Image.Resampling.BICUBIC)
    heatmap = Image.fromarray(generator.random((7, 7)).astype(np.float32)).resize((40, 40))
    values = np.clip(np.asarray(heatmap), 0, 1)
    heat, pale = heat_address(values, "inferno"), heat_address(values / 2, "inferno")
    return photo_address(photo), thumbnail_address(photo), heat, pale


if __name__ == "__main__":
    main()
