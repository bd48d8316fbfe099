"""The last grid that everything goes through, and what each of its places gives to a score.

Where the logits are one linear layer on averaged features, :mod:`ttame.classifiers.linear_end`
finds it. For other ends of a network there is the gradient: at the last layer with places whose
output decides the scores alone, place x of image i gives

    N Σ_k (∂f_c/∂A_k(x)) A_k(x)

to score c, to first order, where N is the number of places, so that the average over the places is
what all of them give. What normalisations divide by counts as a constant, as it does in
:mod:`ttame.features.normalised_average`; cosines then are exact: their gradient is the direction
of the class over the length of the features.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import ClassifierError, ExplainerError, TapError
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_gradients import target_gradients
from ttame.explainers.methods.activation.activation_gradients import read_from_layer
from ttame.explainers.relevance.held_divisors import holding_divisors
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer
from ttame.networks.layer_outputs import first_tensor, put_first_tensor, uncompiled
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network

_EARLIEST = 0.5
"""Of the layers: what is read before is not what the network has made of the photo."""

_MOST_TRIED = 24
_PROBES = 3
_LOUD = 10
_CURVED = 2e-4
"""Of what changes between two images: more than that is not a straight line."""

_SHARE = 1e-3
"""Of the differences between two images, that rounding may make."""


@dataclasses.dataclass(frozen=True)
class LastGrid:
    """The last layer with places whose output decides the scores alone.

    Attributes:
        features: its output.
        exact: whether scores are the average of what the places give, and a constant. Else they
            are so to first order.
        linear: whether, more than that, the gradients are the same at all places, and for all
            images but for a factor: those of a linear layer on averaged features, divided by
            something.
    """

    features: LayerOutput
    exact: bool
    linear: bool


def find_last_grid(classifier: Explainable) -> LastGrid | None:
    """Find it by looking: of two images, the layer's output is swapped, and scores must follow.

    Returns:
        ``None`` where there is no such layer in the network's second half, or where scores do not
        depend on the image, as with a head that starts at zero.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> found = find_last_grid(tiny_classifier())
        >>> found.features.layer, found.exact, found.linear
        ('3', True, True)
    """
    network, trace = uncompiled(classifier.network), classifier.trace
    if trace.output.is_meta:
        return None
    for count, tap in enumerate(_candidates(network, trace)):
        if count == _MOST_TRIED:
            return None
        if _decides_alone(classifier, tap):
            return _looked_at(classifier.with_taps([tap]), tap)
    return None


def _candidates(network: nn.Module, trace: NetworkTrace) -> Iterator[LayerOutput]:
    """Outputs with places and nothing else, the last one first."""
    latest = max((layer.order for layer in trace.layers if len(layer.shape) > 2), default=0)
    for layer in reversed(trace.layers):
        if layer.order < _EARLIEST * latest:
            return
        tap = describe_layer(network, trace, layer)
        if tap is not None and tap.prefix_tokens == 0 and min(tap.grid) > 1:
            yield tap


def _decides_alone(classifier: Explainable, tap: LayerOutput) -> bool:
    """Whether scores follow the layer's output, and depend on a place in its middle."""
    network, trace = uncompiled(classifier.network), classifier.trace
    two = noise_images(network, trace.image_size, 2, trace.channels)

    def swap(output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None or len(tensor) != 3 or not tensor.is_floating_point():
            raise TapError("an output that does not hold the images of the batch")
        changed = tensor[[1, 0, 2]].clone()
        rows, columns = tap.grid
        # A view of it.
        places = tap.feature_map(changed, trace.image_size)
        places[2, :, rows // 2, columns // 2] = torch.nan
        return put_first_tensor(output, changed)

    with classifier.frozen(), torch.no_grad(), contextlib.suppress(TapError, ClassifierError):
        plain = run_network(network, two).float()
        with tap.exchanging(network, trace, swap):
            swapped = run_network(network, torch.cat([two, two[:1]])).float()
        apart = float((plain[0] - plain[1]).abs().max())
        # Layer scales may start at 1e-5, and scores then differ by little more than rounding.
        rounding = 4 * torch.finfo(classifier.dtype).eps * float(plain.abs().max())
        off = float((swapped[:2] - plain.flip(0)).abs().max())
        follows = apart > 16 * rounding and off <= _SHARE * apart + rounding
        return follows and bool(swapped[2].isnan().any())
    return False


def _looked_at(classifier: Explainable, tap: LayerOutput) -> LastGrid | None:
    """What gradients of a few mixtures of the scores say of the way from the layer to them."""
    trace = classifier.trace
    images = noise_images(uncompiled(classifier.network), trace.image_size, 2, trace.channels)
    images[1] *= _LOUD
    try:
        with differentiating():
            logits, output, features = _read(classifier, images)
            mixtures = torch.randn(
                _PROBES, logits.shape[1], generator=torch.Generator().manual_seed(0)
            ).to(logits)
            values = (logits @ mixtures.T).float()
            gradients = [
                tap.feature_map(_gradient(value, output), trace.image_size).float()
                for value in values.sum(dim=0).unbind()
            ]
    except ExplainerError:
        return None
    given = torch.stack([(each * features).sum(dim=(1, 2, 3)) for each in gradients], dim=1)
    left = values.detach() - given
    rounding = 16 * torch.finfo(logits.dtype).eps
    share = max(_CURVED, rounding)
    change = float((given[0] - given[1]).abs().max())
    size = float(torch.maximum(values.detach().abs().max(), given.abs().max()))
    exact = float((left[0] - left[1]).abs().max()) <= share * change + rounding * size
    return LastGrid(tap, exact, exact and all(_is_one_direction(each, share) for each in gradients))


def _is_one_direction(gradients: Tensor, share: float) -> bool:
    """Whether those of two images, (2, C, h, w), are one vector everywhere, but for a factor."""
    averages = gradients.mean(dim=(2, 3))
    spread = (gradients - averages[:, :, None, None]).abs().amax(dim=(1, 2, 3))
    size = gradients.abs().amax(dim=(1, 2, 3))
    one, other = F.normalize(averages, dim=1)
    return bool((spread <= share * size).all()) and float((one - other).abs().max()) <= share


def _gradient(value: Tensor, of: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ExplainerError("the logits have no gradient here")
    return gradient


def _read(classifier: Explainable, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, the output of the only tap that they have a graph to, and the features in it."""
    with holding_divisors():
        logits, output = read_from_layer(classifier, images)
    size = (int(images.shape[-2]), int(images.shape[-1]))
    return logits, output, classifier.taps[0].feature_map(output, size).detach().float()


def gradient_evidence(classifier: Explainable, images: Tensor, request: Request) -> RawMaps:
    """What each place of the classifier's only tap gives to the targets, to first order.

    One pass forward, and one backward from the scores to the tap for each target.
    """
    tap = classifier.taps[0]
    size = (int(images.shape[-2]), int(images.shape[-1]))
    with differentiating():
        logits, output, features = _read(classifier, images)
        targets = request.linear_targets(logits.detach())
        places = features.shape[2] * features.shape[3]
        maps = [
            places * (features * tap.feature_map(gradient, size).float()).sum(dim=1)
            for gradient in target_gradients(logits, targets, output)
        ]
    return RawMaps(logits, targets, torch.stack(maps, dim=1))
