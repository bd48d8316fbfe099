"""Load, abandoned requests, and the end of the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.serving.tiny_server import explainers, photo
from ttame.classifiers.class_selection import select_classes
from ttame.explainers.contract.memory_budget import Progress
from ttame.results.explanation import Explanation
from ttame.serving.engine import Engine
from ttame.serving.monitoring import Monitoring
from ttame.serving.problems import Problem
from ttame.serving.served_network import TorchNetwork
from ttame.serving.settings import ServingSettings
from ttame.serving.wanted import Wanted


class Held(TorchNetwork):
    """A network whose batches are noted, and wait until they are let go."""

    def __init__(self) -> None:
        super().__init__(explainers())
        self.batches: list[tuple[str, int]] = []
        self.free = threading.Event()
        self.free.set()

    def explain(
        self, method: str, inputs: torch.Tensor, wanted: Sequence[Wanted], progress: Progress
    ) -> Explanation:
        self.batches.append((method, len(inputs)))
        assert self.free.wait(20)
        return super().explain(method, inputs, wanted, progress)


def started(**settings: Any) -> tuple[Engine, Held]:
    network = Held()
    engine = Engine(network, ServingSettings(**settings), Monitoring())
    engine.start()
    assert engine.wait_until_ready(60)
    network.batches.clear()
    return engine, network


def nothing() -> None:
    pass


def test_photos_that_arrive_together_share_a_batch_and_get_their_own_maps() -> None:
    engine, network = started(batch_size=4, batch_wait=5.0)
    inputs = [network.input_of(network.pixels(photo(seed))) for seed in range(4)]

    async def one(place: int) -> Explanation:
        with engine.admitted() as arrived:
            await asyncio.sleep(0)
            wanted = Wanted(classes=(place, place + 1))
            (found,) = await engine.explain(inputs[place], ["grad_cam"], wanted, arrived)
            return found

    async def all_of_them() -> list[Explanation]:
        return await asyncio.gather(*(one(place) for place in range(4)))

    found = asyncio.run(all_of_them())
    assert network.batches == [("grad_cam", 4)]
    for place, explanation in enumerate(found):
        alone = explainers()["grad_cam"](inputs[place][None], classes=[[place, place + 1]])
        assert torch.allclose(explanation.maps, alone.maps, atol=1e-5)
        assert explanation.classes.tolist() == [[place, place + 1]]
    engine.close()


def test_a_full_server_says_so_and_when_to_come_back() -> None:
    engine, _ = started(queue_length=2)
    with engine.admitted(), engine.admitted():
        with pytest.raises(Problem) as full, engine.admitted():
            pass
        assert full.value.status == 503 and full.value.headers()["Retry-After"]
    with engine.admitted():
        pass
    engine.close()
    with pytest.raises(Problem), engine.admitted():
        pass


def test_what_nobody_waits_for_is_abandoned_and_the_next_is_answered() -> None:
    engine, network = started(batch_wait=0.0)
    given = network.input_of(network.pixels(photo()))
    network.free.clear()

    async def abandoned() -> None:
        tasks = [
            asyncio.create_task(engine.explain(given, ["cam"], Wanted(top=1), nothing))
            for _ in range(2)
        ]
        while not network.batches:
            await asyncio.sleep(0.01)
        tasks[1].cancel()
        await asyncio.sleep(0.05)
        network.free.set()
        await tasks[0]
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]

    async def answered() -> list[Explanation]:
        return await engine.explain(given, ["cam"], Wanted(top=1), nothing)

    asyncio.run(abandoned())
    assert sum(count for _, count in network.batches) <= 2
    assert len(asyncio.run(answered())) == 1
    engine.close()


def test_a_method_with_many_passes_stops_when_its_request_is_cancelled() -> None:
    engine, network = started()
    assert engine.is_slow("rise") and not engine.is_slow("grad_cam")
    given = network.input_of(network.pixels(photo()))
    steps: list[int] = []
    modes = [module.training for module in network.classifier.network.modules()]

    def told(method: str, finished: int, total: int) -> None:
        steps.append(finished)
        time.sleep(0.02)

    async def cancelled() -> None:
        task = asyncio.create_task(
            engine.explain(given, ["rise"], Wanted(classes=(1,)), nothing, told)
        )
        while not steps:
            await asyncio.sleep(0.005)
        # A quick method is answered while the slow one runs.
        await engine.explain(given, ["cam"], Wanted(top=1), nothing)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    engine.close()
    assert [module.training for module in network.classifier.network.modules()] == modes


def test_topped_classes_are_those_of_the_first_method() -> None:
    engine, network = started()
    given = network.input_of(network.pixels(photo()))
    first, second = asyncio.run(engine.explain(given, ["grad_cam", "cam"], Wanted(top=3), nothing))
    scores = network.classifier.logits(given[None])
    assert first.classes.tolist() == second.classes.tolist()
    assert first.classes.tolist() == select_classes("top3", scores).tolist()
    engine.close()
