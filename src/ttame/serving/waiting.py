"""Waiting for work as long as somebody waits for its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from ttame.serving.problems import Problem

Result = TypeVar("Result")

GONE = Problem(499, "the client went away")
"""Nobody reads it; it stands in the log."""


async def while_wanted(
    request: Request, work: Coroutine[Any, Any, Result], seconds: float
) -> Result:
    """Do some work; it is cancelled when the client goes away, or after some time.

    Args:
        request: whose body was read.
        work: what is done.
        seconds: that it may take.

    Raises:
        Problem: 499, the client went away; 504, it took too long.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        done, _ = await asyncio.wait(
            {task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if task in done:
            return task.result()
        raise GONE if gone in done else too_long(seconds)
    finally:
        await ended(task, gone)


class Progress:
    """How far the methods of one request are; told by other threads, read by the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._latest: dict[str, tuple[int, int]] = {}
        self._changed = asyncio.Event()

    def told(self, method: str, finished: int, total: int) -> None:
        """Take note; called by any thread."""
        with contextlib.suppress(RuntimeError):  # The loop has ended: nobody listens any more.
            self._loop.call_soon_threadsafe(self._note, method, finished, total)

    def _note(self, method: str, finished: int, total: int) -> None:
        self._latest[method] = (finished, total)
        self._changed.set()

    async def wait(self) -> None:
        """Wait for something new."""
        await self._changed.wait()

    def news(self) -> dict[str, tuple[int, int]]:
        """What is new: method to finished and total steps."""
        self._changed.clear()
        latest, self._latest = self._latest, {}
        return latest


async def telling_progress(
    request: Request, work: Coroutine[Any, Any, Result], progress: Progress, seconds: float
) -> AsyncIterator[dict[str, tuple[int, int]] | Result]:
    """Do some work; yields what is new of its progress, and at last the result.

    Args:
        request: whose body was read.
        work: what is done; cancelled when the client goes away, or after some time.
        progress: that the work tells.
        seconds: that it may take.

    Raises:
        Problem: as :func:`while_wanted`.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    news = asyncio.create_task(progress.wait())
    try:
        while not task.done():
            await asyncio.wait(
                {task, gone, news},
                timeout=max(0.0, end - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if news.done():
                yield progress.news()
                news = asyncio.create_task(progress.wait())
            elif not task.done():
                raise GONE if gone.done() else too_long(seconds)
        yield task.result()
    finally:
        await ended(task, gone, news)


def too_long(seconds: float) -> Problem:
    """Of work that was stopped."""
    return Problem(504, f"it took longer than {seconds:g} s; try: a quicker method, or one method")


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until they have let go of what they hold."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
