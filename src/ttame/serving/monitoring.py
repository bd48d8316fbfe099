"""What Prometheus may ask about: counts and times, nothing of any photo."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_PHOTOS = (1, 2, 4, 8, 16, 32, 64)
_AGING = 0.1
"""Weight of the last batch in the mean time of a photo."""


class Monitoring:
    """The counters of one process.

    Example:
        >>> monitoring = Monitoring()
        >>> monitoring.count("/healthz", 200, 0.001)
        >>> b'ttame_requests_total{route="/healthz",status="200"} 1.0' in monitoring.as_text()
        True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ttame_requests", "Answered requests.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "ttame_request_seconds", "From a request to its answer.", ["route"], buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self._batches = Histogram(
            "ttame_batch_photos", "Photos that went through the network together.",
            buckets=_PHOTOS, registry=self._registry,
        )  # fmt: skip
        self._network = Counter(
            "ttame_network_seconds", "Seconds at work in the network.", registry=self._registry
        )
        self.refused = Counter(
            "ttame_refused", "Requests refused because it was full.", registry=self._registry
        )
        self.abandoned = Counter(
            "ttame_abandoned", "Work ended because nobody waited.", registry=self._registry
        )
        self._waiting = Gauge(
            "ttame_waiting", "Photos that wait for the network.", multiprocess_mode="livesum",
            registry=self._registry,
        )  # fmt: skip
        self._queue: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()
        self.seconds_per_photo = 0.05

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Say how the length of the queue is found."""
        self._queue = length

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            route: as the API describes it, never what somebody typed.
            status: the status of the answer.
            seconds: that it took.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    @contextmanager
    def batch(self, photos: int) -> Iterator[None]:
        """Time a batch."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            self._batches.observe(photos)
            self._network.inc(seconds)
            with self._lock:
                own = self.seconds_per_photo
                self.seconds_per_photo = own + _AGING * (seconds / photos - own)

    def as_text(self) -> bytes:
        """In the text format of Prometheus; of all worker processes, if there are several."""
        self._waiting.set(self._queue())
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
