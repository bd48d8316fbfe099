"""Which options of a command help when memory runs out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., None])


def naming_memory_options(command: Command) -> Command:
    """Make a command say, in one line, which of its options to lower when memory runs out.

    Whatever the library advises is meant for Python; here it is said with options.

    Raises:
        MemoryLimitError: memory ran out, wherever: while reading, computing, drawing or writing.
    """

    @functools.wraps(command)
    def run(**typed: Any) -> None:
        try:
            command(**typed)
        except Exception as problem:
            from ttame.errors import MemoryLimitError
            from ttame.memory_limit import ran_out_of_memory

            if not ran_out_of_memory(problem):
                raise
            raise MemoryLimitError("not enough memory", remedy=memory_options(typed)) from problem

    return run  # type: ignore[return-value]  # it has the command's signature


def memory_options(typed: Mapping[str, Any]) -> str:
    """The options of a command that lower what it needs, as they would be typed.

    Args:
        typed: name of each option of the command to its value.

    Example:
        >>> memory_options({"batch_size": 8, "memory_budget": "2GiB", "image_size": "512"})
        '--batch-size 4, an --image-size below 512, or for methods with many passes a --memory-budget below 2GiB'
    """  # noqa: E501 - one line on the terminal
    advice = []
    batch_size = _batch_size(typed)
    if batch_size > 1:
        advice.append(f"--batch-size {batch_size // 2}")
    if "gradient_accumulation" in typed and batch_size > 1:
        parts = 2 * (typed["gradient_accumulation"] or 1)
        if batch_size % parts == 0:
            advice.append(f"--gradient-accumulation {parts}")
    if typed.get("workers", 0) != 0 and typed.get("format_") != "folder":
        advice.append("--workers 0")
    if "image_size" in typed and _obeys_image_size(typed):
        size = typed["image_size"]
        advice.append(f"an --image-size below {size}" if size else "a smaller --image-size")
    if "memory_budget" in typed:
        budget = typed["memory_budget"]
        advice.append(f"for methods with many passes a --memory-budget below {budget}")
    *first, last = advice or ["a smaller network"]
    return f"{', '.join(first)}, or {last}" if first else last


def _batch_size(typed: Mapping[str, Any]) -> int:
    """Photos at a time; a training's preset says it if nothing was typed."""
    if "preset" in typed and not typed["batch_size"]:
        from ttame.training.training_settings import training_settings

        return training_settings(typed["preset"]).run.batch_size
    return int(typed.get("batch_size") or 1)


def _obeys_image_size(typed: Mapping[str, Any]) -> bool:
    """A trained explainer that brings its classifier also brings the size."""
    return "explainer" not in typed or any(
        typed.get(name) for name in ("model", "methods", "method")
    )
