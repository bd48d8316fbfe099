"""The one layer whose output a method reads and exchanges."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import (
    TapError,
    setting,
)
from ttame.features.feature_taps import LayerOutput
from ttame.networks.layer_outputs import uncompiled


def tapped_output(classifier: Explainable) -> LayerOutput:
    """The classifier's first tap, on which its logits depend.

    Raises:
        TapError: it is not an output of a layer.
    """
    tap = classifier.taps[0]
    if not isinstance(tap, LayerOutput):
        raise TapError(
            f"{tap}, which is not an output of a layer, as the layer of a method",
            allowed="a layer whose output the logits depend on",
            remedy=setting("taps", [tap.layer]),
        )
    return tap


def exchanging_output(
    classifier: Explainable, exchange: Callable[[Any], Any]
) -> contextlib.AbstractContextManager[None]:
    """Exchange what the first tap reads, in the one forward pass that the block runs.

    Args:
        classifier: its first tap is a layer's output.
        exchange: see :meth:`ttame.features.feature_taps.LayerOutput.exchanging`.
    """
    network = uncompiled(classifier.network)
    return tapped_output(classifier).exchanging(network, classifier.trace, exchange)
