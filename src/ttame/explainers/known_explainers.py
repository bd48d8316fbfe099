"""The registry of explanation methods: one line each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Protocol

from ttame.classifiers.classifier import Classifier, refuse_other_than_classifier
from ttame.classifiers.classifier_checks import refuse_without_values
from ttame.errors import ExplainerError, TapError, UnknownNameError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.methods.activation.ablation_cam import AblationCam
from ttame.explainers.methods.activation.cam import Cam
from ttame.explainers.methods.activation.class_evidence import ClassEvidence
from ttame.explainers.methods.activation.eigen_cam import EigenCam
from ttame.explainers.methods.activation.grad_cam import GradCam
from ttame.explainers.methods.activation.grad_cam_plus_plus import GradCamPlusPlus
from ttame.explainers.methods.activation.hires_cam import HiResCam
from ttame.explainers.methods.activation.layer_cam import LayerCam
from ttame.explainers.methods.activation.recipro_cam import ReciproCam
from ttame.explainers.methods.activation.score_cam import ScoreCam
from ttame.explainers.methods.activation.xgrad_cam import XGradCam
from ttame.explainers.methods.attention.attention_rollout import AttentionRollout
from ttame.explainers.methods.attention.class_embedding import ClassEmbedding
from ttame.explainers.methods.attention.generic_attention import GenericAttention
from ttame.explainers.methods.attention.iia import Iia
from ttame.explainers.methods.attention.legrad import LeGrad
from ttame.explainers.methods.attention.raw_attention import RawAttention
from ttame.explainers.methods.baseline.centre_gaussian import CentreGaussian
from ttame.explainers.methods.baseline.random_map import RandomMap
from ttame.explainers.methods.gradient.input_x_gradient import InputXGradient
from ttame.explainers.methods.gradient.integrated_gradients import IntegratedGradients
from ttame.explainers.methods.gradient.smooth_grad import SmoothGrad
from ttame.explainers.methods.perturbation.occlusion import Occlusion
from ttame.explainers.methods.perturbation.rise import Rise
from ttame.explainers.methods.perturbation.vit_cx import VitCx
from ttame.explainers.methods.perturbation.vit_recipro_cam import ViTReciproCam
from ttame.explainers.methods.relevance.agf import Agf
from ttame.explainers.methods.relevance.attn_lrp import AttnLrp
from ttame.explainers.methods.relevance.full_lrp import FullLrp
from ttame.explainers.methods.relevance.lrp import Lrp
from ttame.explainers.methods.relevance.partial_lrp import PartialLrp
from ttame.explainers.methods.relevance.transformer_attribution import TransformerAttribution
from ttame.explainers.trained.trained_cards import TRAINED_CARDS
from ttame.explainers.trained.trained_method import TrainedMethod
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import blank_image


class Method(Protocol):
    """What the registry holds: the class of a method, or anything that is called like one."""

    @property
    def card(self) -> MethodCard:
        """The facts about the method."""

    def __call__(self, classifier: Classifier, /) -> Explainer:
        """Make the explainer; a method's options are keyword arguments with defaults."""


EXPLAINERS: dict[str, Method] = {
    "input_x_gradient": InputXGradient,
    "integrated_gradients": IntegratedGradients,
    "smooth_grad": SmoothGrad,
    "rise": Rise,
    "occlusion": Occlusion,
    "vit_cx": VitCx,
    "cam": Cam,
    "class_evidence": ClassEvidence,
    "grad_cam": GradCam,
    "grad_cam_plus_plus": GradCamPlusPlus,
    "xgrad_cam": XGradCam,
    "hires_cam": HiResCam,
    "layer_cam": LayerCam,
    "eigen_cam": EigenCam,
    "score_cam": ScoreCam,
    "ablation_cam": AblationCam,
    "recipro_cam": ReciproCam,
    "raw_attention": RawAttention,
    "attention_rollout": AttentionRollout,
    "generic_attention": GenericAttention,
    "transformer_attribution": TransformerAttribution,
    "partial_lrp": PartialLrp,
    "lrp": Lrp,
    "full_lrp": FullLrp,
    "attn_lrp": AttnLrp,
    "agf": Agf,
    "legrad": LeGrad,
    "class_embedding": ClassEmbedding,
    "iia": Iia,
    "vit_recipro_cam": ViTReciproCam,
    "random": RandomMap,
    "centre_gaussian": CentreGaussian,
    **{name: TrainedMethod(card) for name, card in TRAINED_CARDS.items()},
}
"""Name to method. A new method is one file and one line."""


@gives_everything_back
def make_explainer(name: str, classifier: Classifier, **options: Any) -> Explainer:
    """Make an explainer by the name of its method.

    Args:
        name: of a method; ``EXPLAINERS`` has them all.
        classifier: the network to explain.
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
    refuse_other_than_classifier(classifier)
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
    classifier: Classifier, names: Iterable[str] | None = None
) -> tuple[dict[str, Explainer], dict[str, str]]:
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
    applicable: dict[str, Explainer] = {}
    reasons: dict[str, str] = {}
    for name in EXPLAINERS if names is None else names:
        try:
            applicable[name] = make_explainer(name, classifier)
        except (ExplainerError, TapError) as problem:
            reasons[name] = problem.problem
    return applicable, reasons
