"""Ctrl-C at random moments: is everything as it was found?

    python -m benchmarks.reliability.interrupts [INTERRUPTS]

Real signals, at a random moment of a call, over all methods that are quick on tiny networks; called
plainly, inside another loan of the same network, and while another thread explains it; and
exceptions that are raised in threads. After each, everything is compared.
"""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmarks.reliability.as_found import changes, everything
from benchmarks.reliability.attempts import Attempted, Tell, nobody
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import EXPLAINERS, make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.giving_back import gives_everything_back

QUICK_IN_SECONDS = 0.05
"""A method that takes the processor longer for a call is left out."""

SHARES = {"tiny CNN": 0.4, "resnet18 at 64 pixels": 0.2, "tiny ViT": 0.2}
"""Of all interrupts, by network; the rest strikes nested and threaded use of the tiny CNN."""

NESTED, THREADED = 0.1, 0.1


LONGEST_FIRST_CALL = 2.0
"""Seconds after which a method's first call is interrupted: it will not be quick."""


def attempts(interrupts: int = 5000, seed: int = 0, tell: Tell = nobody) -> list[Attempted]:
    """Interrupt that often in all; for every kind of use, how often something was not as found."""
    rows: list[Attempted] = []
    for row in _one_by_one(interrupts, seed):
        rows.append(row)
        tell(sum(row.tries for row in rows))
    return rows


def _one_by_one(interrupts: int, seed: int = 0) -> Iterator[Attempted]:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    chosen = random.Random(seed)
    with _raising_on_alarm():
        for name, share in SHARES.items():
            network, images = _network(name)
            explainers = _quick_explainers(network, images)
            calls = [_call(explainer, images) for explainer in explainers]
            count = round(share * interrupts)
            yield _interrupt(f"{name}, {len(calls)} methods", calls, network, count, chosen)
        network, images = _network("tiny CNN")
        explainers = _quick_explainers(network, images)
        nested = [_nested(explainer, images) for explainer in explainers]
        count = round(NESTED * interrupts)
        yield _interrupt("inside another loan", nested, network, count, chosen)
        half = round(THREADED * interrupts / 2)
        yield _next_to_a_thread(explainers, network, images, half, chosen)
    yield _in_threads(explainers, network, images, half, chosen)


def _network(name: str) -> tuple[nn.Module, Tensor]:
    """In train mode, as a user who trains it has it."""
    import timm

    if name == "tiny CNN":
        parts: list[nn.Module] = []
        for channels, following in ((3, 8), (8, 16), (16, 32)):
            parts += [nn.Conv2d(channels, following, 3, 2, 1), nn.BatchNorm2d(following), nn.ReLU()]
        network: nn.Module = nn.Sequential(
            *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 5)
        )
        return network.train(), torch.randn(1, 3, 32, 32)
    if name == "tiny ViT":
        network = timm.create_model(
            "vit_tiny_patch16_224", img_size=64, num_classes=5, depth=3, embed_dim=48, num_heads=3
        )
    else:
        network = timm.create_model("resnet18", num_classes=5)
    return network.train(), torch.randn(1, 3, 64, 64)


def _quick_explainers(network: nn.Module, images: Tensor) -> list[Explainer]:
    size = int(images.shape[-1])
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(size))
    quick = []
    for name in EXPLAINERS:
        try:
            explainer = make_explainer(name, classifier)
            if _struck(_call(explainer, images), LONGEST_FIRST_CALL):
                continue
        except TtameError:
            continue  # not a method for this network
        start = time.thread_time()
        explainer(images, 0)
        if time.thread_time() - start < QUICK_IN_SECONDS:
            quick.append(explainer)
    return quick


def _call(explainer: Explainer, images: Tensor) -> Callable[[], object]:
    return lambda: explainer(images, 0)


def _nested(explainer: Explainer, images: Tensor) -> Callable[[], object]:
    """Explained inside of another guarded call that holds the network, as metrics do."""

    @gives_everything_back
    def call() -> None:
        with explainer.classifier.frozen(), torch.no_grad():
            explainer.classifier.logits(images)
            explainer.attribute(images, 0)

    return call


@contextmanager
def _raising_on_alarm() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    found = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)


def _struck(call: Callable[[], object], seconds: float) -> bool:
    """Whether a signal so many seconds later interrupted the call."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-5))
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def _interrupt(
    name: str,
    calls: list[Callable[[], object]],
    network: nn.Module,
    interrupts: int,
    chosen: random.Random,
) -> Attempted:
    durations = [_duration(call) for call in calls]
    before = everything(network)
    tries = failures = 0
    example = ""
    while tries < interrupts:
        index = chosen.randrange(len(calls))
        if not _struck(calls[index], chosen.uniform(0, durations[index])):
            continue
        tries += 1
        changed = changes(before, everything(network))
        if changed:
            failures += 1
            example = example or changed[0]
            before = everything(network)  # what the next one has to find
    return Attempted(f"interrupts: {name}", tries, failures, example)


def _duration(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _next_to_a_thread(
    explainers: list[Explainer],
    network: nn.Module,
    images: Tensor,
    interrupts: int,
    chosen: random.Random,
) -> Attempted:
    """Interrupt this thread ten times while another one explains the same network."""
    before = everything(network)
    tries = failures = 0
    example = ""
    while tries < interrupts:
        stop = threading.Event()

        def explain(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                explainers[0](images, 0)

        thread = threading.Thread(target=explain)
        thread.start()
        for _ in range(10):
            call = _call(chosen.choice(explainers), images)
            tries += _struck(call, chosen.uniform(0, 0.02))
        stop.set()
        thread.join()
        changed = changes(before, everything(network))
        failures += bool(changed)
        example = example or "".join(changed[:1])
    return Attempted("interrupts: while another thread explains", tries, failures, example)


def _in_threads(
    explainers: list[Explainer],
    network: nn.Module,
    images: Tensor,
    interrupts: int,
    chosen: random.Random,
) -> Attempted:
    """Raise an exception in two threads that explain the same network."""
    before = everything(network)
    failures = 0
    example = ""
    for _ in range(0, interrupts, 2):

        def explain() -> None:
            try:
                while True:
                    chosen.choice(explainers)(images, 0)
            except KeyboardInterrupt:
                return

        threads = [threading.Thread(target=explain) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(chosen.uniform(0, 0.02))
        for thread in threads:
            while thread.is_alive():  # again, where a destructor swallowed it
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
                )
                thread.join(1)
        changed = changes(before, everything(network))
        failures += bool(changed)
        example = example or "".join(changed[:1])
    return Attempted("interrupts: exceptions in two threads", interrupts, failures, example)


def main() -> None:
    start = time.perf_counter()
    for attempted in _one_by_one(int(sys.argv[1]) if len(sys.argv) > 1 else 5000):
        print(attempted.name, attempted.tries, attempted.failures, attempted.example, flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
