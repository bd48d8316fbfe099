"""The Space, with a stand-in for Gradio: what its function answers."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.loaded_once import load_once
from tests.serving.tiny_server import photo

APP = Path(__file__).parents[3] / "examples" / "gradio_space" / "app.py"


def test_it_names_three_classes_and_draws_their_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    load_once(monkeypatch)
    gradio: Any = ModuleType("gradio")
    for name in ("Interface", "Image", "Radio", "Label", "Gallery"):
        setattr(gradio, name, lambda *parts, **options: (parts, options))
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    app = runpy.run_path(str(APP))
    for title in app["methods"]:
        probabilities, pictures = app["explain"](photo(), title)
        assert list(probabilities) == [label for _, label in pictures]
        assert len(pictures) == 3 and pictures[0][0].size == (60, 40)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
    assert app["explain"](None, "Grad-CAM") == ({}, [])
    assert len(APP.read_text().splitlines()) <= 36
