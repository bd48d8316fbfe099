"""The registry of explanation methods: one line for each file."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar, overload

from torch import nn

from ttame.classifiers.any_classifier import AnyClassifier
from ttame.classifiers.classifier_checks import refuse_without_values
from ttame.classifiers.given_network import classifier_of
from ttame.errors import ExplainerError, TapError, UnknownNameError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.explainers.trained.trained_method import TrainedMethod
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import blank_image

Of = TypeVar("Of", bound=AnyClassifier[Any, Any])
"""A kind of classifier."""


class Method(Protocol):
    """What the registry holds: the class of a method, or anything that is called like one."""

    @property
    def card(self) -> MethodCard:
        """The facts about the method."""

    def __call__(self, classifier: Any, /) -> Explainer[Any]:
        """Make the explainer; a method's options are keyword arguments with defaults."""


_FILES = (
    "gradient.input_x_gradient",
    "gradient.integrated_gradients",
    "gradient.smooth_grad",
    "gradient.full_grad",
    "gradient.libra_grad",
    "perturbation.rise",
    "perturbation.occlusion",
    "perturbation.meaningful_perturbation",
    "perturbation.extremal_perturbation",
    "perturbation.vit_cx",
    "perturbation.caap",
    "activation.cam",
    "activation.class_evidence",
    "activation.grad_cam",
    "activation.grad_cam_plus_plus",
    "activation.xgrad_cam",
    "activation.hires_cam",
    "activation.layer_cam",
    "activation.grad_cam_elementwise",
    "activation.eigen_cam",
    "activation.eigen_grad_cam",
    "activation.score_cam",
    "activation.ablation_cam",
    "activation.recipro_cam",
    "attention.raw_attention",
    "attention.attention_rollout",
    "attention.cam_attn",
    "attention.generic_attention",
    "relevance.transformer_attribution",
    "relevance.partial_lrp",
    "relevance.lrp",
    "relevance.full_lrp",
    "relevance.attn_lrp",
    "relevance.agf",
    "attention.legrad",
    "attention.class_embedding",
    "attention.iia",
    "perturbation.vit_recipro_cam",
    "baseline.random_map",
    "baseline.centre_gaussian",
)
"""The files of ``methods`` that define one, in the order of the page: one line each."""


def _methods_in(file: str) -> Iterator[Method]:
    module = importlib.import_module(f"ttame.explainers.methods.{file}")
    for thing in vars(module).values():
        own = inspect.isclass(thing) and thing.__module__ == module.__name__
        if own and isinstance(getattr(thing, "card", None), MethodCard):
            yield thing


EXPLAINERS: dict[str, Method] = {
    **{method.card.name: method for file in _FILES for method in _methods_in(file)},
    **{name: TrainedMethod(card) for name, card in TRAINED_CARDS.items()},
}
"""Name to method."""


@overload
def make_explainer(name: str, classifier: nn.Module, **options: Any) -> Explainer: ...


@overload
def make_explainer(name: str, classifier: Of, **options: Any) -> Explainer[Of]: ...


@gives_everything_back
def make_explainer(name: str, classifier: Any, **options: Any) -> Explainer[Any]:
    """Make an explainer by the name of its method.

    Args:
        name: the name of a method; ``EXPLAINERS`` has them all.
        classifier: the network to explain, a :class:`ttame.Classifier` or a
            :class:`ttame.text.TextClassifier`; or a network of timm itself, whose
            ``pretrained_cfg`` says how photos are prepared.
        **options: the method's own; see :func:`method_options`.

    Raises:
        UnknownNameError: no such method, or no such option of it; with near matches.
        ExplainerError: the method is not defined for this classifier; the message names those
            that are.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> make_explainer("grad_cam", classifier).card.title
        'Grad-CAM'
    """
    if isinstance(classifier, str) and not isinstance(name, str):
        raise ExplainerError(
            "make_explainer with its arguments swapped",
            allowed="make_explainer(method, classifier)",
            remedy=f"make_explainer({classifier!r}, classifier)",
        )
    if not isinstance(classifier, AnyClassifier):
        classifier = classifier_of(classifier)
    refuse_without_values(blank_image(classifier.network, (1, 1)), classifier.name)
    known = method_options(name)
    for option in options:
        if option not in known:
            if option in _OF_A_CALL:
                raise ExplainerError(
                    f"{option}= when {name} is made",
                    remedy=f"explainer(images, {option}=...): it goes in with each call",
                )
            raise UnknownNameError.of(f"option of {name}", option, known)
    return EXPLAINERS[name](classifier, **options)


_OF_A_CALL = ("memory_budget", "progress", "target", "classes")


def method_options(name: str) -> dict[str, Any]:
    """The options of a method with their defaults.

    Raises:
        UnknownNameError: no such method.

    Example:
        >>> method_options("rise")
        {'masks': 2000, 'cells': 8, 'keep_probability': 0.5, 'space': 'normalised', 'seed': 0}
    """
    if name not in EXPLAINERS:
        raise UnknownNameError.of("method", name, EXPLAINERS)
    parameters = inspect.signature(EXPLAINERS[name]).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


@gives_everything_back
def methods_for(
    classifier: Of, names: Iterable[str] | None = None
) -> tuple[dict[str, Explainer[Of]], dict[str, str]]:
    """Which methods are defined for a classifier, and why the others are not.

    Args:
        classifier: the network to explain.
        names: the methods to try; all if not given.

    Returns:
        Name to explainer with default options, and name to the reason why there is none.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> explainers, reasons = methods_for(classifier, ["grad_cam", "attention_rollout"])
        >>> list(explainers), list(reasons)
        (['grad_cam'], ['attention_rollout'])
    """
    applicable: dict[str, Explainer[Of]] = {}
    reasons: dict[str, str] = {}
    for name in EXPLAINERS if names is None else names:
        try:
            applicable[name] = make_explainer(name, classifier)
        except (ExplainerError, TapError) as problem:
            reasons[name] = problem.problem
    return applicable, reasons
