"""Work on its way through the network: admitted, batched, and ended when nobody waits for it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ttame.errors import TtameError
from ttame.results.explanation import Explanation
from ttame.serving.batching import AbandonedError, Batcher, Progress, QueueFullError, Ticket
from ttame.serving.monitoring import Monitoring
from ttame.serving.problems import Problem
from ttame.serving.served_network import ServedNetwork
from ttame.serving.settings import ServingSettings
from ttame.serving.wanted import Wanted

_log = logging.getLogger("ttame.serving")

_READERS = 2
"""Threads that read photos and write answers."""

Told = Callable[[str, int, int], None]
"""Told a method, and its finished and total steps."""


class _ManyPassesError(Exception):
    """A method that says how far it is has many passes."""


class Engine:
    """Runs one network for many requests.

    Quick methods and predictions are batched by one thread. Methods with many passes have a thread
    of their own, so that nobody waits minutes for a prediction; which they are is found out when
    the engine starts, by trying each once.

    Args:
        network: to run.
        settings: the limits.
        monitoring: what is counted.
    """

    def __init__(
        self, network: ServedNetwork, settings: ServingSettings, monitoring: Monitoring
    ) -> None:
        self.network = network
        self.settings = settings
        self._monitoring = monitoring
        self._slow: set[str] = set()
        self._admitted = 0
        self._coming = 0
        self._ready = threading.Event()
        self._closing = False
        self.threads = ThreadPoolExecutor(_READERS, thread_name_prefix="photos")
        capacity = settings.queue_length * settings.most_methods
        self._quick = Batcher(
            self._run,
            batch_size=settings.batch_size,
            wait=settings.batch_wait,
            capacity=capacity,
            coming=lambda: self._coming,
            name="network",
        )
        self._patient = Batcher(
            self._run, batch_size=1, wait=0.0, capacity=capacity, name="many passes"
        )
        monitoring.watch_queue(lambda: len(self._quick) + len(self._patient))

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self._ready.is_set() and not self._closing

    def is_slow(self, method: str) -> bool:
        """Whether a method has many passes."""
        return method in self._slow

    def start(self) -> None:
        """Try the network and every method once, in a thread of its own; then it is ready."""
        threading.Thread(target=self._try_all, name="warm-up", daemon=True).start()

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait for what :meth:`start` began."""
        return self._ready.wait(seconds)

    def close(self) -> None:
        """Finish what was accepted, within ``shutdown_seconds``; take nothing more."""
        self._closing = True
        end = time.monotonic() + self.settings.shutdown_seconds
        for batcher in (self._quick, self._patient):
            batcher.close(max(0.1, end - time.monotonic()))
        self.threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def admitted(self) -> Iterator[Callable[[], None]]:
        """Count a request as worked on; yields what says that its photo has arrived.

        Raises:
            Problem: 503, the server is full, starting, or about to stop.
        """
        if not self.ready:
            raise Problem(503, "the server is starting or stopping", retry_after=2)
        if self._admitted >= self.settings.queue_length:
            self._monitoring.refused.inc()
            raise Problem(
                503, f"{self._admitted} requests are being worked on", retry_after=self._patience()
            )
        self._admitted += 1
        self._coming += 1
        coming = [1]

        def arrived() -> None:
            if coming:
                coming.pop()
                self._coming -= 1
                self._quick.nudge()

        try:
            yield arrived
        finally:
            arrived()
            self._admitted -= 1

    def _patience(self) -> int:
        return max(1, round(self._monitoring.seconds_per_photo * self.settings.queue_length))

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Do something that takes a while without holding up the others."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    async def explain(
        self,
        given: Tensor,
        methods: Sequence[str],
        wanted: Wanted,
        arrived: Callable[[], None],
        told: Told | None = None,
    ) -> list[Explanation]:
        """Explain the same classes of one input by each method.

        Args:
            given: what the network takes.
            methods: names.
            wanted: what the first method explains; it chooses the classes of the others.
            arrived: told when the input waits for the network.
            told: how far each method is; called by other threads.

        Raises:
            TtameError: what a method says.
            Problem: 503, the queue is full.
        """
        first, *others = methods
        with self._tickets() as submit:
            ticket = submit(first, given, wanted, told)
            arrived()
            found = [await asyncio.wrap_future(ticket.future)]
            if wanted.top:
                classes = tuple(found[0].classes[0].tolist())
                wanted = dataclasses.replace(wanted, top=0, classes=classes)
            waiting = [submit(name, given, wanted, told) for name in others]
            return found + [await asyncio.wrap_future(each.future) for each in waiting]

    async def predict(self, given: Tensor, arrived: Callable[[], None]) -> Tensor:
        """(C,) probabilities of one input.

        Raises:
            Problem: 503, the queue is full.
        """
        with self._tickets() as submit:
            ticket = submit("", given, Wanted(), None)
            arrived()
            found: Tensor = await asyncio.wrap_future(ticket.future)
            return found

    @contextmanager
    def _tickets(self) -> Iterator[Callable[..., Ticket]]:
        """Submits work, and abandons it if whoever waits goes away."""
        tickets: list[Ticket] = []

        def submit(method: str, given: Tensor, wanted: Wanted, told: Told | None) -> Ticket:
            lane = self._patient if method in self._slow else self._quick
            progress: Progress | None = None
            if told is not None:
                progress = lambda finished, total: told(method, finished, total)  # noqa: E731
            try:
                ticket = lane.submit((method, wanted.key), (given, wanted), progress)
            except QueueFullError as problem:
                self._monitoring.refused.inc()
                raise Problem(503, "the queue is full", retry_after=self._patience()) from problem
            tickets.append(ticket)
            return ticket

        try:
            yield submit
        finally:
            for ticket in tickets:
                if not ticket.future.done():
                    ticket.abandon()
                    self._monitoring.abandoned.inc()

    def _run(self, key: Hashable, items: Sequence[Any], progress: Progress) -> Sequence[Any]:
        """What the threads of the network do."""
        method = _method_of(key)
        inputs = torch.stack([given for given, _ in items])
        with self._monitoring.batch(len(items)):
            if not method:
                return list(self.network.probabilities(inputs))
            wanted = [each for _, each in items]
            explanation = self.network.explain(method, inputs, wanted, progress)
        return [_alone(each) for each in explanation] if len(items) > 1 else [explanation]

    def _try_all(self) -> None:
        blank = self._blank()
        try:
            self.network.probabilities(blank)
            for name in self.network.methods:
                self._try(name, blank)
        except Exception:
            # The server goes on: whoever asks is told what is wrong.
            _log.exception("trying the network failed")
        self._ready.set()

    def _try(self, name: str, blank: Tensor) -> None:
        def stop(finished: int, total: int) -> None:
            raise _ManyPassesError

        try:
            self.network.explain(name, blank, [Wanted(classes=(0,))], stop)
        except _ManyPassesError:
            self._slow.add(name)
        except TtameError as problem:
            _log.warning("a method failed on a grey picture", extra={"reason": str(problem)})

    def _blank(self) -> Tensor:
        height, width = self.network.preprocessing.input_size
        channels = self.network.preprocessing.number_of_channels
        ramp = torch.linspace(0, 1, height * width).reshape(1, height, width)
        return self.network.input_of(ramp.expand(channels, -1, -1).contiguous())[None]


def _method_of(key: Hashable) -> str:
    assert isinstance(key, tuple)
    return str(key[0])


def _alone(explanation: Explanation) -> Explanation:
    """One photo's part of a batch, without holding on to the others."""
    return dataclasses.replace(
        explanation,
        maps=explanation.maps.clone(),
        logits=explanation.logits.clone(),
        probabilities=explanation.probabilities.clone(),
    )


__all__ = ["AbandonedError", "Engine", "Told"]
