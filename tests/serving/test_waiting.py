"""Work that is awaited: answered, cancelled with its client, stopped in time, and its progress."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ttame.serving.problems import Problem
from ttame.serving.waiting import Progress, telling_progress, while_wanted


class Client:
    """As much of a request as waiting needs: a client that stays, or goes away."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


class Work:
    def __init__(self, steps: int = 10_000) -> None:
        self.steps = steps
        self.cancelled = False

    async def run(self, progress: Progress | None = None) -> str:
        try:
            for step in range(self.steps):
                if progress is not None:
                    progress.told("rise", step, self.steps)
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


def refused(work: Work, client: Any, seconds: float) -> int:
    async def wait() -> None:
        made = client()
        if seconds > 1:
            asyncio.get_running_loop().call_later(0.02, made.leaves.set)
        await while_wanted(made, work.run(), seconds)

    with pytest.raises(Problem) as found:
        asyncio.run(wait())
    return found.value.status


def test_work_is_answered_or_ended() -> None:
    async def wait() -> str:
        return await while_wanted(Client(), Work(3).run(), 20)  # type: ignore[arg-type]

    assert asyncio.run(wait()) == "done"
    for seconds, status in ((0.02, 504), (20.0, 499)):
        work = Work()
        assert refused(work, Client, seconds) == status
        assert work.cancelled


def test_progress_comes_before_the_answer_and_ends_with_the_client() -> None:
    async def listen(work: Work, leaving: float) -> list[Any]:
        client, progress = Client(), Progress()
        asyncio.get_running_loop().call_later(leaving, client.leaves.set)
        parts: list[Any] = []
        try:
            telling: Any = telling_progress(client, work.run(progress), progress, 20)  # type: ignore[arg-type]
            async for part in telling:
                parts.append(part)
        except Problem as problem:
            parts.append(problem.status)
        return parts

    *news, last = asyncio.run(listen(Work(5), 10))
    assert last == "done" and news
    assert all(each["rise"][1] == 5 for each in news)
    work = Work()
    assert asyncio.run(listen(work, 0.02))[-1] == 499
    assert work.cancelled
