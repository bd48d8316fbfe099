"""The registry of explanation methods: one line each."""

from __future__ import annotations

from collections.abc import Callable

from ttame.classifiers.classifier import Classifier
from ttame.errors import UnknownNameError
from ttame.explainers.explainer import Explainer
from ttame.explainers.posthoc.cam import Cam
from ttame.explainers.posthoc.grad_cam import GradCam

EXPLAINERS: dict[str, Callable[[Classifier], Explainer]] = {
    "cam": Cam,
    "grad_cam": GradCam,
}
"""Name to method, for methods that need no training. A new method is one file and one line."""


def make_explainer(name: str, classifier: Classifier) -> Explainer:
    """Make an explainer by the name of its method.

    Raises:
        UnknownNameError: no such method.
        ExplainerError: the method is not defined for this classifier.
    """
    if name not in EXPLAINERS:
        raise UnknownNameError.of("method", name, EXPLAINERS)
    return EXPLAINERS[name](classifier)
