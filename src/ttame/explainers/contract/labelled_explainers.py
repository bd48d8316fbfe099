"""One explainer or several, as the functions that work through photos take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttame.classifiers.any_classifier import AnyClassifier
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


def refuse_other_networks(
    explainers: Mapping[str, Explainer[Any]], classifier: AnyClassifier[Any, Any]
) -> None:
    """Refuse explainers of another network: their maps would be judged by one that they are not of.

    A network that was loaded twice is the same, by its weights.

    Args:
        explainers: label to explainer.
        classifier: that is asked what the maps leave of its classes.

    Raises:
        ExplainerError: one of them explains another network.
    """
    for label, explainer in explainers.items():
        own = explainer.classifier
        if own.network is classifier.network:
            continue
        if own.kind != classifier.kind or own.fingerprint() != classifier.fingerprint():
            raise ExplainerError(
                f"{label} explains {own.name}, another network than {classifier.name}",
                allowed="methods of the classifier that is evaluated",
                remedy="make_explainer(name, classifier) or load_explainer(folder, "
                "classifier=classifier)",
            )
