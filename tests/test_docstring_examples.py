"""The examples in docstrings run and print what they say, and what users call has one."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import ttame
from tests.loaded_once import LOADERS, load_once
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.metrics.known_metrics import METRICS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "ttame"
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
REFERENCE = "\n".join(
    page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("reference*.md"))
)
ON_THE_REFERENCE_PAGE = re.findall(r"^::: ([\w.]+)\.(\w+)$", REFERENCE, flags=re.MULTILINE)
MODULES_ON_THE_REFERENCE_PAGE = ("errors", "compat")
"""Documented as a whole: by the docstring, or by ``__all__``."""


def has_example(thing: object) -> bool:
    return ">>> " in (thing.__doc__ or "")


def test_there_are_examples() -> None:
    assert len(MODULES) > 100


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On failure the captured output has doctest's comparison."""
    load_once(monkeypatch)
    module = importlib.import_module(name)
    quick = {name: loader for name, loader in LOADERS.items() if hasattr(module, name)}
    found = doctest.testmod(module, extraglobs=quick)
    assert found.attempted > 0
    assert found.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "name"), ON_THE_REFERENCE_PAGE, ids=[name for _, name in ON_THE_REFERENCE_PAGE]
)
def test_what_the_reference_page_shows_has_an_example(module: str, name: str) -> None:
    if name in MODULES_ON_THE_REFERENCE_PAGE:
        return
    assert has_example(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", METRICS)
def test_the_reference_shows_the_functions_of_every_metric(name: str) -> None:
    metric = METRICS[name]
    shown = set(map(".".join, ON_THE_REFERENCE_PAGE))
    functions = [metric.function, *metric.also.values(), *([metric.curve] if metric.curve else [])]
    for function in functions:
        assert f"{function.__module__}.{function.__name__}" in shown


def test_the_reference_shows_what_the_package_exports() -> None:
    shown = {name for _, name in ON_THE_REFERENCE_PAGE}
    elsewhere = {"EXPLAINERS", "__version__", "TtameError"}  # Data, and what errors shows.
    missing = set(ttame.__all__) - shown - elsewhere
    assert not missing, f"add to docs/reference.md: {sorted(missing)}"


@pytest.mark.parametrize("name", [name for name in ttame.__all__ if name[0] != "_"])
def test_what_the_package_exports_has_an_example(name: str) -> None:
    exported = getattr(ttame, name)
    if isinstance(exported, dict):  # EXPLAINERS
        return
    assert has_example(exported)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_has_an_example(name: str) -> None:
    assert has_example(EXPLAINERS[name])


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_an_example(name: str) -> None:
    metric = METRICS[name]
    functions = [metric.function, *metric.also.values(), *([metric.curve] if metric.curve else [])]
    assert all(has_example(function) for function in functions)
