"""Several processes that work together: they go on together or fail together."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import dataclasses
import datetime
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from ttame.errors import (
    LostProcessError,
    TtameError,
    either,
)

if TYPE_CHECKING:  # Accelerate takes a second to import, and most runs are of one process.
    from accelerate import Accelerator

T = TypeVar("T")

_SIGNAL_AT_PARENTS_DEATH = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""

LONGEST_WAIT = datetime.timedelta(days=7)
"""For other processes. One may have much more left of a resumed evaluation than the others, or
measure something alone; a process that fails says so, and is not waited for."""


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
        from accelerate.utils import gather_object

        problems = [found for found in gather_object([problem]) if found is not None]
        problem = problem or (problems[0] if problems else None)
    if problem is not None:
        raise problem
    return result


def on_main_process(accelerator: Accelerator, action: Callable[[], object]) -> None:
    """Do something in the main process, such as writing; others wait, and fail if it fails.

    Raises:
        TtameError: the error of the main process, in every process.
    """
    together(accelerator, action if accelerator.is_main_process else lambda: None)


@dataclasses.dataclass(frozen=True)
class Share:
    """Which batches this process works on: every ``of``-th, from ``process`` on.

    Example:
        >>> list(Share(1, 3).of_batches(8))
        [1, 4, 7]
    """

    process: int = 0
    of: int = 1

    def of_batches(self, count: int) -> range:
        """The numbers of this process's own batches among ``count``."""
        return range(self.process, count, self.of)


class ProcessGroup:
    """This process among those that ``torchrun`` or ``accelerate launch`` started, if they did.

    Attributes:
        share: the share of this process.

    Raises:
        TtameError: this process does not see the others.
    """

    def __init__(self) -> None:
        self._accelerator: Accelerator | None = None
        self.share = Share()
        if launched_processes() > 1:
            from accelerate import Accelerator, InitProcessGroupKwargs

            self._accelerator = Accelerator(
                cpu=not torch.accelerator.is_available(),
                kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
            )
            check_joined(self._accelerator)
            self.share = Share(self._accelerator.process_index, self._accelerator.num_processes)

    def all(self, action: Callable[[], T]) -> T:
        """Do something in every process; they fail together."""
        return action() if self._accelerator is None else together(self._accelerator, action)

    def first(self, action: Callable[[], object]) -> None:
        """Do something in the first process while the others wait."""
        if self._accelerator is None:
            action()
        else:
            on_main_process(self._accelerator, action)

    def from_first(self, action: Callable[[], T]) -> T:
        """Do something in the first process, and return what it gave in all of them.

        Args:
            action: what it returns can be pickled.
        """
        if self._accelerator is None:
            return action()
        given: list[T] = []
        self.first(lambda: given.append(action()))
        from accelerate.utils import broadcast_object_list

        sent: list[Any] = [*given] or [None]
        broadcast_object_list(sent)
        return sent[0]  # type: ignore[no-any-return]


@contextlib.contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """Say in one line that a process which this one works with has ended without a word.

    Raises:
        LostProcessError: instead of the error of the connection to it.
    """
    try:
        yield
    except RuntimeError as problem:
        if joined_processes() < 2 or not _is_of_connection(problem):
            raise
        raise LostProcessError(
            f"another of the {joined_processes()} processes has ended",
            remedy=either("the same call with resume=True", "the same command with --resume")
            + ", which goes on",
        ) from problem


def _is_of_connection(problem: RuntimeError) -> bool:
    """Whether it tells of other processes, by its type, or by the library that it names."""
    return isinstance(problem, dist.DistError) or "/gloo/" in str(problem)


def joined_processes() -> int:
    """How many processes work together with this one, itself included."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def joined_in_words(shared: str) -> str:
    """How many processes have joined, for users who started several; empty without a launcher.

    Args:
        shared: what they share, such as ``"each batch"``.
    """
    if not any(name in os.environ for name in ("RANK", "ACCELERATE_MIXED_PRECISION")):
        return ""
    joined = joined_processes()
    if joined > 1:
        threads = torch.get_num_threads()
        each = f" and compute with {threads} thread{'s' * (threads > 1)} each"
        on_gpus = torch.accelerator.is_available()
        return f"{joined} processes share {shared}{'' if on_gpus else each}"
    if _accelerate_left_out_others():
        return f"1 process: `accelerate launch` has started no other; {SEVERAL} starts two"
    return "1 process"


SEVERAL = "torchrun --standalone --nproc_per_node 2 -m ttame ..."
"""What starts several processes, on GPUs or on the CPU."""


def _accelerate_left_out_others() -> bool:
    """Whether more processes were wanted than Accelerate has started.

    With ``--cpu`` it leaves several processes to MPI, and without MPI starts a single one, but
    tells it where it would meet the others.
    """
    return "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ


def launched_processes() -> int:
    """How many processes were started together, as by ``torchrun``; else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_process() -> int:
    """The number of this process among those of its machine, which has a GPU for each; else 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_first_process() -> bool:
    """Whether this is the process that talks to the user; launchers set RANK."""
    return os.environ.get("RANK", "0") == "0"


def check_joined(accelerator: Accelerator) -> None:
    """Make sure that processes which were started together work together, and leave together.

    Left to the interpreter's end, the threads of their group may abort a finished process.

    Raises:
        TtameError: this process does not see the others; each would do all of the work.
    """
    if accelerator.num_processes > 1:
        atexit.register(_leave_process_group)
        _end_with_the_launcher()
    launched = launched_processes()
    if accelerator.num_processes != launched:
        raise TtameError(
            f"started as one of {launched} processes, but Accelerate sees "
            f"{accelerator.num_processes} on {accelerator.device}",
            remedy="as many processes as there are GPUs, or ACCELERATE_USE_CPU=true",
        )


def _end_with_the_launcher() -> None:
    """Ask Linux to end this process when the ``torchrun`` that started it is killed.

    Orphans would go on, and write into the folder that the next run resumes in.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGTERM)


def _leave_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
