"""The bundled classifier and its explainer, loaded once for many examples that only use them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import ttame

BUNDLED = "efficientnet_lite0"


def loading_once(name: str) -> Callable[..., Any]:
    """``ttame.load_classifier`` or ``ttame.load_explainer``, quick from the second time on.

    An explained network is left as it was found, so examples can share one.
    """
    load: Callable[..., Any] = getattr(ttame, name)
    bundled = functools.cache(lambda: load(BUNDLED))

    @functools.wraps(load)
    def loaded(*places: Any, **options: Any) -> Any:
        return bundled() if (places, options) == ((BUNDLED,), {}) else load(*places, **options)

    return loaded


LOADERS = {name: loading_once(name) for name in ("load_classifier", "load_explainer")}


def load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``ttame.load_classifier`` and ``ttame.load_explainer`` be quick."""
    for name, loader in LOADERS.items():
        # The package looks its names up when they are asked for; now they are simply there.
        monkeypatch.setattr(ttame, name, loader, raising=False)
