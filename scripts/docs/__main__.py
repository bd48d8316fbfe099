"""Writes the pages of ``docs/`` that are made from the code: python -m scripts.docs [PAGE ...]

Without a name it writes all of them, which takes about five minutes on one core. The pages of
measurements are written by the benchmarks that measure.
"""

from __future__ import annotations

import argparse
import importlib

PAGES = {
    "methods": "methods_page",
    "metrics": "metrics_page",
    "compatibility": "compatibility_page",
    "planted-digits": "planted_digits_page",
    "settings": "settings_page",
    "text-architectures": "text_architectures_page",
    "which-method": "which_method_page",
}
"""What is typed, to the module of this folder that writes it."""


def main(words: list[str] | None = None) -> None:
    """Write the pages that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs", description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"one of {', '.join(PAGES)}")
    names = parser.parse_args(words).pages or [*PAGES]
    for name in names:
        if name not in PAGES:
            parser.error(f"no page {name!r}; there are: {', '.join(PAGES)}")
    for name in names:
        importlib.import_module(f"scripts.docs.{PAGES[name]}").write_page()
        print(f"wrote the page of {name}", flush=True)


if __name__ == "__main__":
    main()
