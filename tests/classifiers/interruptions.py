"""Striking at a chosen moment, as a signal would.

CPython runs signal handlers in three places only: where a function begins, after a call of a C
function, and where a loop jumps back. ``sys.setprofile`` shows the first two exactly, an opcode
trace the third. An exception that is raised there unwinds as one from a signal handler does.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from ttame.errors import TtameError

_JUMP_BACKWARD = frozenset(
    code for name, code in dis.opmap.items() if name.startswith("JUMP_BACKWARD")
)


class Striker:
    """Raises an exception at the n-th moment of a run, and another one so many moments later."""

    def __init__(self, at: int, again: int | None = None, error: Any = KeyboardInterrupt) -> None:
        self.left = at
        self.again = again
        self.error = error
        self.struck = 0

    def run(self, function: Callable[[], object]) -> bool:
        """Run a function under attack; whether it was struck at all."""
        loops = self.again is not None
        try:
            if loops:
                sys.settrace(self._trace)
            sys.setprofile(self._profile)
            function()
        except (self.error, TtameError):
            pass  # what a network raises while it runs is reported in words
        finally:
            sys.setprofile(None)
            sys.settrace(None)
        return self.struck > 0

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_return") and frame.f_code.co_filename != __file__:
            self.left -= 1
            if self.left < 0 and not self.struck:
                self._strike()

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if "ttame" not in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if self.struck == 1 and self._is_moment(frame, event):
            assert self.again is not None
            self.again -= 1
            if self.again < 0:
                self._strike()
        return self._trace

    def _is_moment(self, frame: FrameType, event: str) -> bool:
        if event == "call":
            return True
        code = frame.f_code.co_code[frame.f_lasti]
        return event == "opcode" and code in _JUMP_BACKWARD

    def _strike(self) -> None:
        self.struck += 1
        raise self.error
