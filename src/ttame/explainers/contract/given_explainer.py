"""An explainer where one is expected."""

from __future__ import annotations

from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, kind_of
from ttame.networks.given_module import TEXT_CLASSIFIER, reads_tokens


def not_an_explainer(value: object, allowed: str) -> ExplainerError:
    """What to say of something that is not the explainer that was asked for.

    Args:
        value: that somebody passed.
        allowed: what may be passed.
    """
    return ExplainerError(f"{kind_of(value)} as explainer", allowed=allowed, remedy=_making(value))


def _making(given: object) -> str:
    if isinstance(given, Classifier):
        return "ttame.make_explainer('grad_cam', classifier)"
    if reads_tokens(given):
        return f"ttame.make_explainer('attn_lrp', {TEXT_CLASSIFIER})"
    if isinstance(given, nn.Module):
        return (
            "ttame.make_explainer('grad_cam', ttame.Classifier(network, preprocessing=...)), with "
            "the preprocessing of its weights"
        )
    if isinstance(given, str):
        return f"ttame.make_explainer({given!r:.60}, classifier)"
    return ""
