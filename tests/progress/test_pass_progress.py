"""Methods with many passes say how far they are, once they have taken a second."""

from __future__ import annotations

import time

import pytest
import torch

from ttame.explainers.known_explainers import make_explainer
from ttame.progress.pass_progress import telling_of_passes
from ttame.progress.progress_line import ProgressLine
from ttame.testing import tiny_classifier


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which 40 seconds pass each time that somebody looks."""
    seconds = iter(range(0, 400_000, 40))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))


@pytest.mark.usefixtures("slow")
def test_slow_methods_show_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    rise = make_explainer("rise", tiny_classifier(), masks=24)
    images = torch.randn(2, 3, 16, 16)
    shown = rise(images)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("RISE, ") and "steps, about" in first
    for progress in (False, None, lambda finished, total: None):
        silent = rise(images, progress=progress)
        assert capsys.readouterr().err == ""
        assert torch.equal(silent.maps, shown.maps)


def test_quick_methods_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    make_explainer("rise", tiny_classifier(), masks=8)(torch.randn(1, 3, 16, 16))
    assert capsys.readouterr().err == ""


def test_whoever_listens_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    rise = make_explainer("rise", tiny_classifier(), masks=8)
    rise(torch.randn(1, 3, 16, 16), progress=lambda *state: told.append(state))
    assert told[-1][0] == told[-1][1]


def test_no_line_inside_a_method_that_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with telling_of_passes("RISE", False), ProgressLine() as line:
        line.say("nested")
    assert capsys.readouterr().err == ""
