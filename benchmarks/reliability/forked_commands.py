"""``ttame`` commands in processes of their own that begin at once, to be killed at any moment.

Importing torch takes seconds. A server imports it once and forks a process for every command.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

IMPORTED_ONCE = [
    "torch._dynamo",
    "torch.distributed",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors.torch",
    "pyarrow.parquet",
    "rich.progress",
    "ttame.cli.main",
    "ttame.classifiers.known_classifiers",
    "ttame.evaluation.evaluate_methods",
    "ttame.evaluation.gallery",
    "ttame.explainers.known_explainers",
    "ttame.explainers.trained.explainer_folder",
    "ttame.reporting.evaluation_report",
    "ttame.reporting.explain",
    "ttame.training.train_explainer",
]
"""What the commands need; none of it starts a thread, which a fork would lose."""

LONGEST = 120.0
"""Seconds after which a command hangs."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(IMPORTED_ONCE)


class HangsError(Exception):
    """A command that does not end."""


class Command:
    """One ``ttame`` command that runs, in one process or in several that work together.

    Args:
        arguments: what stands behind ``ttame``.
        output: file that gets both output streams; what is in it stays.
        processes: how many; each learns of the others from its environment, as from ``torchrun``.
        environment: variables to set besides.
        folder: to run in; this one if not given.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        output: Path,
        *,
        processes: int = 1,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.output = output
        self.processes: list[ForkServerProcess] = []
        port = _free_port() if processes > 1 else 0
        with one_thread():
            for rank in range(processes):
                place = _place(rank, processes, port) if processes > 1 else {}
                process = _FORKS.Process(
                    target=_run,
                    args=([*arguments], output, {**place, **(environment or {})}, folder),
                )
                process.start()
                self.processes.append(process)

    @property
    def runs(self) -> bool:
        """Whether any process is still there."""
        return any(process.is_alive() for process in self.processes)

    def kill(self, number: int | None = None) -> None:
        """SIGKILL one process, or all of them."""
        for process in self.processes if number is None else [self.processes[number]]:
            process.kill()

    def wait(self, seconds: float = LONGEST) -> list[int]:
        """Wait for the end of all processes.

        Returns:
            Exit code of each; -9 for one that was killed.

        Raises:
            HangsError: one does not end. All are killed.
        """
        deadline = time.monotonic() + seconds
        try:
            for process in self.processes:
                process.join(max(0.0, deadline - time.monotonic()))
                if process.exitcode is None:
                    raise HangsError(f"still runs after {seconds:.0f} s; {last_line(self.output)}")
        finally:
            self.kill()
            for process in self.processes:
                process.join()
        return [int(process.exitcode or 0) for process in self.processes]

    def kill_after(self, seconds: float, generator: random.Random | None = None) -> list[int]:
        """Wait, kill one process of several at random or all, and clear up as a launcher does.

        Args:
            seconds: to wait; the command may have ended by then.
            generator: decides which; all are killed at once if not given.

        Returns:
            Exit code of each.
        """
        self.processes[0].join(seconds)
        if generator is not None and generator.random() < 0.5:
            self.kill(generator.randrange(len(self.processes)))
            # A launcher takes a moment to notice, and then ends the others.
            time.sleep(generator.random() * 0.05)
        self.kill()
        return self.wait()


def last_line(output: Path) -> str:
    """The last line that a command wrote."""
    lines = output.read_text(errors="replace").splitlines() if output.exists() else []
    return lines[-1] if lines else "no output"


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """What starts inside computes in a single thread: the server, and so all of its children."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _place(rank: int, processes: int, port: int) -> dict[str, str]:
    """What ``torchrun`` tells a process of the others."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _run(
    arguments: list[str], output: Path, environment: Mapping[str, str], folder: Path | None
) -> None:
    """The command, in its process; ends with its exit code."""
    os.environ.update(environment)
    if folder is not None:
        os.chdir(folder)
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["ttame", *arguments]
    import torch

    from ttame.cli.main import main

    torch.set_num_threads(1)
    main()
