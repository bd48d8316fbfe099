"""The registry of explanation methods: one line each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Protocol

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.attention.trained_cards import TRAINED_CARDS
from ttame.explainers.attention.trained_method import TrainedMethod
from ttame.explainers.explainer import Explainer
from ttame.explainers.memory_budget import DEFAULT_BUDGET, Progress, parse_memory
from ttame.explainers.method_card import MethodCard
from ttame.explainers.posthoc.cam import Cam
from ttame.explainers.posthoc.grad_cam import GradCam


class Method(Protocol):
    """What the registry holds: the class of a method, or anything that is called like one."""

    @property
    def card(self) -> MethodCard:
        """The facts about the method."""

    def __call__(self, classifier: Classifier, /) -> Explainer:
        """Make the explainer; a method's options are keyword arguments with defaults."""


EXPLAINERS: dict[str, Method] = {
    "cam": Cam,
    "grad_cam": GradCam,
    **{name: TrainedMethod(card) for name, card in TRAINED_CARDS.items()},
}
"""Name to method. A new method is one file and one line."""


def make_explainer(
    name: str,
    classifier: Classifier,
    *,
    memory_budget: str | int = DEFAULT_BUDGET,
    progress: Progress | None = None,
    **options: Any,
) -> Explainer:
    """Make an explainer by the name of its method.

    Args:
        name: of a method; ``EXPLAINERS`` has them all.
        classifier: the network to explain.
        memory_budget: activations that a method with many passes may hold at a time: bytes, or
            ``"2GiB"``.
        progress: told the finished and the total number of steps of a method with many passes.
        **options: the method's own; see :func:`method_options`.

    Raises:
        UnknownNameError: no such method, or no such option of it; with near matches.
        ExplainerError: the method is not defined for this classifier; the message names those
            that are.

    Example:
        >>> from torch import nn
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
        ...                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> make_explainer("grad_cam", classifier).card.title
        'Grad-CAM'
    """
    known = method_options(name)
    for option in options:
        if option not in known:
            raise UnknownNameError.of(f"option of {name}", option, known)
    budget = parse_memory(memory_budget)
    explainer = EXPLAINERS[name](classifier, **options)
    explainer.memory_budget = budget
    explainer.progress = progress
    return explainer


def method_options(name: str) -> dict[str, Any]:
    """The options of a method with their defaults.

    Raises:
        UnknownNameError: no such method.
    """
    if name not in EXPLAINERS:
        raise UnknownNameError.of("method", name, EXPLAINERS)
    parameters = inspect.signature(EXPLAINERS[name]).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def methods_for(
    classifier: Classifier, names: Iterable[str] | None = None
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Which methods are defined for a classifier, and why the others are not.

    Args:
        classifier: the network to explain.
        names: the methods to try; all if not given.

    Returns:
        Name to explainer with default options, and name to the reason why there is none.
    """
    applicable: dict[str, Explainer] = {}
    reasons: dict[str, str] = {}
    for name in EXPLAINERS if names is None else names:
        try:
            applicable[name] = make_explainer(name, classifier)
        except ExplainerError as problem:
            reasons[name] = problem.problem
    return applicable, reasons
