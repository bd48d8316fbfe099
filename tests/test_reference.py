"""Every public name is on a page of the Python reference."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import ttame
from ttame import compat
from ttame.compat import captum, torchcam
from ttame.metrics.known_metrics import METRICS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("reference*.md")}
SHOWN = {name for page in PAGES.values() for name in re.findall(r"^::: (\S+)", page, re.MULTILINE)}


def missing(homes: dict[str, str]) -> set[str]:
    """Names whose object, or whose whole module with its members, is on no page."""
    return {
        name
        for name, home in homes.items()
        if f"{home}.{name}" not in SHOWN and not whole_module(home, name)
    }


def whole_module(home: str, name: str) -> bool:
    described = any(re.search(rf"members:.*\b{name}\b", page) for page in PAGES.values())
    return home in SHOWN and (described or home == "ttame.errors")


def test_what_ttame_exports_is_in_the_reference() -> None:
    # The registry is a dict, which the reference mentions and methods.md describes.
    assert missing(ttame._HOMES) == {"EXPLAINERS"}
    assert "`ttame.EXPLAINERS`" in PAGES["reference.md"]


def test_every_metric_is_in_the_reference() -> None:
    """By a function of its own file that returns one value per image."""
    functions = {name.rpartition(".")[0] for name in SHOWN if name.startswith("ttame.metrics.")}
    files = {metric.function.__module__ for metric in METRICS.values()}
    assert files - functions == set()


def test_calls_of_other_libraries_are_in_the_reference() -> None:
    # The page of ttame.compat shows what its __all__ names.
    assert "ttame.compat" in SHOWN and "members_order: __all__" in PAGES["reference-compat.md"]
    assert compat.__all__
    for module in (captum, torchcam):
        own = {
            name: module.__name__
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__ and name[0] != "_"
        }
        assert len(own) >= 5
        assert missing(own) == set()
