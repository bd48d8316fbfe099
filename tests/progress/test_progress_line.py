"""What says how far work is: on terminals, in notebooks, in logs, and nowhere twice."""

from __future__ import annotations

import io
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from ttame.progress import progress_line
from ttame.progress.progress_line import ProgressLine, nothing_shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_minute(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as line:
        for second in range(0, 200, 10):
            clock[0] = second
            line.update(what="rise", done=second, total=200, remark=f"at {second}")
        line.say("note: said at once")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "rise, 30 %, at 60", "rise, 60 %, at 120", "rise, 90 %, at 180", "note: said at once",
    ]  # fmt: skip


def test_inside_another_line_or_where_none_is_wanted_nothing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProgressLine() as outer:
        with ProgressLine() as inner:
            inner.say("inner")
        outer.say("outer")
    with nothing_shown(), ProgressLine() as line:
        line.say("unwanted")
    with ProgressLine(shown=False) as line:
        line.say("another process")
    with ProgressLine() as line:
        line.say("again")
    assert capsys.readouterr().err.splitlines() == ["outer", "again"]


def test_one_thread_has_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    def other() -> None:
        with ProgressLine() as line:
            line.say("other thread")

    with ProgressLine() as line:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=20)
        line.say("first thread")
    assert capsys.readouterr().err.splitlines() == ["first thread"]


def test_the_screen_is_free_again_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), ProgressLine():
        raise KeyboardInterrupt
    with ProgressLine() as line:
        line.say("free")
    assert capsys.readouterr().err == "free\n"


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with ProgressLine() as line:
        line.update(what="[red]rise", done=1, total=4, remark="1/4 [bold]steps")
        line.say("note: [kept]")
        assert isinstance(line._screen, progress_line._TerminalBar)
        line._screen._progress.refresh()
    shown = screen.getvalue()
    assert "[red]rise" in shown and "1/4 [bold]steps" in shown and "note: [kept]" in shown
    assert shown.rstrip("\r\n").endswith("\x1b[2K")  # the bar's line is erased


def test_a_notebook_gets_a_bar_whose_lines_stay(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    cells: list[str] = []
    handle = SimpleNamespace(update=cells.append)

    def show(text: str) -> Any:
        cells.append(text)
        return handle

    monkeypatch.setattr(progress_line, "in_notebook", lambda: True)
    monkeypatch.setattr(progress_line, "show_html", show)
    monkeypatch.setattr(progress_line, "html_of", lambda text: text)
    with ProgressLine() as line:
        clock[0] = 1.0
        line.update(what="<rise>", done=1, total=4)
        line.update(done=2)  # too soon after the one before
        clock[0] = 2.0
        line.update(done=3)
        line.say("epoch 1")
    assert 'value="0.2500"' in cells[0] and 'value="0.7500"' in cells[1]
    assert "&lt;rise&gt;" in cells[0] and "<rise>" not in cells[0]
    assert "epoch 1" in cells[-1] and "<progress" not in cells[-1]
