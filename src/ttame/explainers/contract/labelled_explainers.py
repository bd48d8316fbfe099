"""One explainer or several, as the functions that work through photos take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.given_explainer import not_an_explainer


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
    several = list(given) if isinstance(given, list | tuple) else [given]
    entries = given.values() if isinstance(given, dict) else several
    for entry in entries:
        if not isinstance(entry, Explainer):
            raise not_an_explainer(entry, "an explainer, several in a list, or label to explainer")
    return dict(given)
