"""Several processes that train together: they go on together or fail together."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import gather_object

from ttame.errors import TtameError

T = TypeVar("T")


def together(accelerator: Accelerator, action: Callable[[], T]) -> T:
    """Do something in every process; if it fails in one, raise that error in all of them.

    Without this, a process whose colleague has given up would wait for it until a timeout.

    Args:
        accelerator: knows the processes.
        action: must not itself exchange anything with other processes.

    Raises:
        TtameError: the error of this process, or else of the first process that has one.
    """
    result: T
    problem: TtameError | None = None
    try:
        result = action()
    except TtameError as own:
        problem = own
    if accelerator.num_processes > 1:
        problems = [found for found in gather_object([problem]) if found is not None]
        problem = problem or (problems[0] if problems else None)
    if problem is not None:
        raise problem
    return result


def on_main_process(accelerator: Accelerator, action: Callable[[], None]) -> None:
    """Do something in the main process, such as writing; others wait, and fail if it fails.

    Raises:
        TtameError: the error of the main process, in every process.
    """
    together(accelerator, action if accelerator.is_main_process else lambda: None)


def leave_at_exit(accelerator: Accelerator) -> None:
    """Leave the group of several processes before the interpreter ends.

    Left to that end, the threads of the group may abort a finished process.
    """
    if accelerator.num_processes > 1:
        atexit.register(_leave_process_group)


def _leave_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
