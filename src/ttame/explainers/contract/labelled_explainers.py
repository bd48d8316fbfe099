"""One explainer or several, as the functions that work through photos take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer


def labelled_explainers(given: Any, photos: Any = None) -> dict[str, Explainer]:
    """Label to explainer, of whatever a user passed.

    Args:
        given: an explainer, several in a list, or label to explainer.
        photos: what was passed as photos, to notice that the two are swapped.

    Raises:
        ExplainerError: something else; with what to write.

    Example:
        >>> from ttame.explainers.methods.activation.grad_cam import GradCam
        >>> from ttame.testing import tiny_classifier
        >>> list(labelled_explainers(GradCam(tiny_classifier())))
        ['grad_cam']
    """
    if isinstance(photos, Explainer):
        raise ExplainerError(
            f"the explainer {photos.method} as photos",
            allowed="photos first, then the explainers",
            remedy="ttame.explain(photos, explainer, out)",
        )
    if isinstance(given, Explainer):
        return {given.method: given}
    if isinstance(given, Mapping):
        given = dict(given)
    elif isinstance(given, list | tuple) and all(isinstance(one, Explainer) for one in given):
        given = {one.method: one for one in given}
    entries = given.values() if isinstance(given, dict) else [given]
    for entry in entries:
        if not isinstance(entry, Explainer):
            raise ExplainerError(
                f"a {type(entry).__name__} as explainer",
                allowed="an explainer, several in a list, or label to explainer",
                remedy=_making(entry),
            )
    return dict(given)


def _making(given: object) -> str:
    if isinstance(given, Classifier):
        return "ttame.make_explainer('grad_cam', classifier)"
    if isinstance(given, nn.Module):
        return (
            "ttame.make_explainer('grad_cam', ttame.Classifier(network, preprocessing=...)), with "
            "the preprocessing of its weights"
        )
    if isinstance(given, str):
        return f"ttame.make_explainer({given!r}, classifier)"
    return ""
