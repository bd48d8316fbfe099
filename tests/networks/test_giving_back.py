from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks.reliability.as_found import changes, everything
from tests.classifiers.interruptions import Striker
from tests.classifiers.small_networks import SMALL, small_cnn
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import find_class_layer, find_linear_end
from ttame.classifiers.transformer_layout import transformer_layout
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.memory_budget import ActivationMeter
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.passes.widening import widening
from ttame.networks import frozen_network, loans
from ttame.networks.frozen_network import frozen
from ttame.networks.function_replacement import replacing_functions
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import hooks_at_rest, watching, watching_inputs
from ttame.networks.pass_counter import counting_passes
from ttame.testing import tiny_classifier

# What strikes while Python closes a generator expression is lost in the network's own code, too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

IMAGE = torch.zeros(1, 3, 32, 32)


def tiny_cnn() -> nn.Sequential:
    """In train mode but for a part, with a frozen weight and a hook of the user's."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())
    network[2].eval()
    assert network[0].bias is not None
    network[0].bias.requires_grad_(False)
    network[2].register_forward_hook(lambda *_: None)
    return network


def watch_everything(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    return watching([(module, lambda *_: None) for module in network.modules()])


def watch_inputs(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    return watching_inputs([(module, lambda *_: None) for module in network.modules()])


LOANS: dict[str, Callable[[nn.Module], contextlib.AbstractContextManager[Any]]] = {
    "frozen": frozen,
    "watching": watch_everything,
    "watching inputs": watch_inputs,
    "replacing functions": lambda _: replacing_functions({}),
    "widening": lambda _: widening(),
    "differentiating": lambda _: differentiating(),
    "counting passes": lambda _: counting_passes(),
    "measuring activations": lambda _: ActivationMeter(),
    "hooks at rest": lambda _: hooks_at_rest(),
}


def attack(
    run: Callable[[], object], network: nn.Module, again: int | None = None, step: int = 1
) -> int:
    """Strike at every moment of a run, or at every so-many-th one; how many there were."""
    run()  # what is imported and cached at first
    before = everything(network)
    moment = 0
    while Striker(moment, again).run(run):
        assert not changes(before, everything(network)), f"struck at moment {moment}"
        moment += step
        assert moment < 100_000
    return moment


@pytest.mark.parametrize("name", LOANS)
def test_no_moment_is_bad_for_an_interrupt(name: str) -> None:
    network = tiny_cnn()

    def borrow() -> None:
        with LOANS[name](network):
            torch.ones(1).add(1)

    assert attack(borrow, network, step=7 if name == "measuring activations" else 1) > 3


def test_no_two_moments_are_bad_for_two_interrupts() -> None:
    network = tiny_cnn()

    @gives_everything_back
    def borrow_all() -> None:
        # The lock by itself: between taking and noting it, an ExitStack could be interrupted.
        with hooks_at_rest(), contextlib.ExitStack() as stack:
            for name, loan in LOANS.items():
                if name != "hooks at rest":
                    stack.enter_context(loan(network))
            torch.set_grad_enabled(False)

    for again in (0, 1, 2, 5, 17, 40):
        assert attack(borrow_all, network, again, step=31) > 300


def test_a_mode_that_torch_has_taken_off_for_a_moment_does_not_come_back_later() -> None:
    network = tiny_cnn()

    @gives_everything_back
    def replace_functions() -> None:
        with replacing_functions({}):
            nn.functional.softmax(torch.ones(1), 0)  # asks the mode in Python, in a generator

    assert attack(replace_functions, network) > 50


def test_whatever_is_public_borrows_under_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ctrl-C hits between a block and its end, only the guard's frame is left to undo it."""
    unguarded: list[Any] = []
    enter = loans.Lent.__enter__

    def noting(lent: loans.Lent[Any]) -> Any:
        if not loans.this_thread.depth:
            unguarded.append(lent._loan)
        return enter(lent)

    monkeypatch.setattr(loans.Lent, "__enter__", noting)
    for kind in ("cnn", "vit"):
        classifier = tiny_classifier("cnn" if kind == "cnn" else "vit", size=32)
        images = torch.zeros(1, 3, 32, 32)
        classifier.probabilities(images)
        classifier.read_features(images)
        classifier.with_taps([classifier.taps[0].layer]).for_many_passes()
        transformer_layout(classifier)
        find_class_layer(classifier)
        find_linear_end(classifier)
        for method in ("grad_cam", "random"):
            make_explainer(method, classifier)(images, 0)
    assert unguarded == []
    with frozen(tiny_cnn()):
        assert len(unguarded) == 1


def test_inference_mode_stays_the_users() -> None:
    network = tiny_cnn()

    @gives_everything_back
    def differentiate() -> None:
        with differentiating():
            torch.ones(1).add(1)

    with torch.inference_mode():
        before = everything(network)
        moment = 0
        while Striker(moment).run(differentiate):
            assert not changes(before, everything(network)), moment
            moment += 1
    assert moment > 10
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", ["grad_cam", "recipro_cam", "full_lrp"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_an_explainer_may_be_interrupted_anywhere(method: str, error: type[BaseException]) -> None:
    network = small_cnn().train()
    explainer = make_explainer(method, Classifier(network, preprocessing=SMALL))
    count = Striker(10**9)
    explainer(IMAGE, 0)
    count.run(lambda: explainer(IMAGE, 0))
    moments = 10**9 - count.left
    before = everything(network)
    chosen = random.Random(1)
    for _ in range(40):
        moment = chosen.randrange(moments)
        assert Striker(moment, None, error).run(lambda: explainer(IMAGE, 0))
        assert not changes(before, everything(network)), moment


def test_making_a_classifier_and_an_explainer_may_be_interrupted_anywhere() -> None:
    network = small_cnn().train()

    def make() -> None:
        make_explainer("full_lrp", Classifier(network, preprocessing=SMALL))

    make()
    count = Striker(10**9)
    count.run(make)
    before = everything(network)
    chosen = random.Random(2)
    for _ in range(40):
        assert Striker(chosen.randrange(10**9 - count.left)).run(make)
        assert not changes(before, everything(network))


@pytest.fixture
def alarm() -> Iterator[Callable[[float], None]]:
    """Raises KeyboardInterrupt so many seconds later, as Ctrl-C would."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    found = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None  # type: ignore[func-returns-value]
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, found)


def test_random_signals_leave_everything_as_found(alarm: Callable[[float], None]) -> None:
    network = small_cnn().train()
    explainer = make_explainer("grad_cam", Classifier(network, preprocessing=SMALL))
    explainer(IMAGE, 0)
    start = time.perf_counter()
    explainer(IMAGE, 0)
    duration = time.perf_counter() - start
    before = everything(network)
    chosen = random.Random(3)
    interrupted = 0
    for _ in range(300):
        try:
            try:
                alarm(chosen.uniform(1e-5, duration))
                explainer(IMAGE, 0)
            finally:
                alarm(0)
        except KeyboardInterrupt:
            interrupted += 1
        assert not changes(before, everything(network))
    assert interrupted > 50


def test_the_users_own_mode_is_never_undone_later() -> None:
    network = small_cnn().eval()
    explainer = make_explainer("grad_cam", Classifier(network, preprocessing=SMALL))
    explainer(IMAGE, 0)
    for moment in range(0, 1200, 40):
        network.eval().requires_grad_(False)
        Striker(moment).run(lambda: explainer(IMAGE, 0))
        network.train().requires_grad_(True)
        explainer(IMAGE, 0)
        assert all(module.training for module in network.modules())
        assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_interrupted_threads_leave_everything_as_found() -> None:
    network = small_cnn().train()
    explainer = make_explainer("grad_cam", Classifier(network, preprocessing=SMALL))
    explainer(IMAGE, 0)
    before = everything(network)
    interrupted = []

    ready = threading.Semaphore(0)

    def explain() -> None:
        try:
            ready.release()
            while True:
                explainer(IMAGE, 0)
        except KeyboardInterrupt:
            interrupted.append(1)

    for _ in range(20):
        threads = [threading.Thread(target=explain) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in threads:
            ready.acquire()
        time.sleep(0.005)
        for thread in threads:
            for _ in range(20):  # again, where a destructor swallowed it
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
                )
                thread.join(1)
                if not thread.is_alive():
                    break
            assert not thread.is_alive()
        assert not changes(before, everything(network))
    assert len(interrupted) > 20


def test_a_loan_ends_once() -> None:
    """What ended by force must not end again, when its context manager gets round to it."""
    network = tiny_cnn()
    loan = frozen(network)

    @gives_everything_back
    def careless() -> None:
        loan.__enter__()

    careless()
    assert network[0].training
    with frozen(network):
        loan.__exit__(None, None, None)
        assert not network[0].training
    assert network[0].training


def test_a_forgotten_loan_ends_with_its_context_manager() -> None:
    network = tiny_cnn()
    loan = frozen(network)
    loan.__enter__()
    assert not network.training
    del loan
    assert network.training
    assert not frozen_network._held


def test_a_caught_exception_leaves_nothing_behind() -> None:
    network = tiny_cnn()
    before = everything(network)

    @gives_everything_back
    def careless() -> list[object]:
        loans = [loan(network) for name, loan in LOANS.items() if name != "hooks at rest"]
        for loan in loans:
            loan.__enter__()
        torch.set_grad_enabled(False)
        return loans

    kept = careless()
    assert not changes(before, everything(network))
    del kept
    assert not changes(before, everything(network))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_nothing_of_other_threads() -> None:
    network = small_cnn().train()
    explainer = make_explainer("grad_cam", Classifier(network, preprocessing=SMALL))
    explainer(IMAGE, 0)
    before = everything(network)
    stop, held = threading.Event(), threading.Event()

    def hold_everything() -> None:
        with contextlib.ExitStack() as stack:
            for loan in LOANS.values():  # the last one is the lock
                stack.enter_context(loan(network))
            held.set()
            stop.wait(60)

    thread = threading.Thread(target=hold_everything)
    thread.start()
    held.wait(20)
    assert loans._open
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)  # a child that waits for a lock for ever ends by this
        # Straight from here: the child must not go on with the tests.
        with contextlib.suppress(BaseException):
            as_found = not changes(before, everything(network))
            explainer(IMAGE, 0)
            os._exit(0 if as_found and not changes(before, everything(network)) else 1)
        os._exit(2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    stop.set()
    thread.join()
    assert status == 0
    assert not changes(before, everything(network))
