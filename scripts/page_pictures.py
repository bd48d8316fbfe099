"""What every page looks like, and what axe finds in it.

    python -m scripts.page_pictures [PAGE.html ...] [--out build/page-pictures]

Takes a picture of each page in Chromium, as wide as a phone, a tablet and a laptop, light and dark,
so that somebody can look at them. Without pages: the reports of docs/leaderboard, and those that
are there of ``demo-output`` and ``build/site``. Where axe is installed
(``pip install axe-playwright-python``) what it finds is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WIDTHS = (390, 800, 1400)
SCHEMES = ("light", "dark")
HIGHEST = 6000
"""Pixels of the height of a picture; longer pages are cut."""

USUAL_PAGES = (
    "demo-output/index.html",
    "docs/leaderboard/report.html",
    "docs/leaderboard/report-2.html",
    "build/site/index.html",
    "build/site/which-method/index.html",
    "build/site/methods/index.html",
    "build/site/reference/index.html",
)

AXE_IS_MISSING = "axe is not installed: pip install axe-playwright-python"

COLOUR_RULES = ("color-contrast", "link-in-text-block")
"""All that a colour scheme can break."""

_PAINTED = """() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"""
"""Waits until a page has been drawn twice."""

_FINDINGS = """async (rules) => {
  const only = rules.length ? { runOnly: { type: "rule", values: rules } } : {};
  const { violations } = await axe.run({ resultTypes: ["violations"], ...only });
  return violations.map((found) => [
    found.impact, found.id, found.help, found.nodes.map((node) => node.target.join(" "))]);
}"""


def axe_source() -> str | None:
    """The program that looks for barriers, from the package that brings it."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        return None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def chromium() -> str | None:
    """Debian's browser, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def barriers(
    page: Any, axe: str, rules: Sequence[str] = ()
) -> list[tuple[str, str, str, list[str]]]:
    """What axe finds in an open page: impact, rule, its words, and the elements.

    Args:
        page: an open one.
        axe: its source.
        rules: to look for; all of them if empty.
    """
    page.evaluate(_PAINTED)  # once, on a busy machine, a link had a colour that was not its own
    page.evaluate(axe)
    return [tuple(found) for found in page.evaluate(_FINDINGS, [*rules])]


def opened(browser: Any, pages: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """Each page in each width and scheme, with a name for it."""
    for width in WIDTHS:
        for scheme in SCHEMES:
            view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for path in pages:
                view.goto(path.resolve().as_uri())
                place = "-".join(path.with_suffix("").parts[-3:])
                yield f"{place}-{width}-{scheme}", view
            view.close()


def take_pictures(pages: Sequence[Path], out: Path) -> int:
    """Write the pictures, print what axe finds, and count what is serious."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    axe, n_serious = axe_source(), 0
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, view in opened(browser, pages):
            whole = view.evaluate("document.documentElement.scrollHeight")
            size = {"width": view.viewport_size["width"], "height": min(whole, HIGHEST)}
            view.screenshot(path=out / f"{name}.png", full_page=True, clip={"x": 0, "y": 0, **size})
            for impact, rule, words, elements in barriers(view, axe) if axe else ():
                n_serious += impact in ("serious", "critical")
                print(f"{name}: {impact}: {rule}: {words}: {'; '.join(elements[:4])}")
        browser.close()
    if not axe:
        print(AXE_IS_MISSING, file=sys.stderr)
    return n_serious


def main() -> int:
    """Read the arguments; return what the shell is told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=Path("build/page-pictures"))
    options = parser.parse_args()
    if chromium() is None:
        print("no Chromium on this machine: apt-get install chromium", file=sys.stderr)
        return 2
    usual = [Path(page) for page in USUAL_PAGES if Path(page).is_file()]
    return int(take_pictures(options.pages or usual, options.out) > 0)


if __name__ == "__main__":
    sys.exit(main())
