"""Where a classifier is linear: its evidence for every class at every place."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput, RectifiedOutput
from ttame.features.layer_layouts import describe_layer
from ttame.features.normalised_average import NormalisedShares, normalised_averages
from ttame.features.tap_names import Tap
from ttame.features.tap_reading import reading_taps
from ttame.features.token_contributions import contributions_tap
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import uncompiled, watching, watching_inputs
from ttame.networks.network_trace import noise_images, run_network

Pooling = Literal["average", "class token"]


@dataclasses.dataclass(frozen=True)
class LinearEnd:
    """The end of a network whose logits are linear in pooled features.

    Attributes:
        features: the features that are pooled, after their last norm: a feature map, channels
            first or last, or tokens. Where the network rectifies a layer's output and averages
            then, that output rectified. Where the norm comes behind the average, each place's
            share in what it puts out.
        layer: dotted name of the ``nn.Linear``, or of the convolution with a kernel of 1x1, that
            turns the features into logits before or after they are pooled. Empty where the
            features are maps of the classes already, whose averages are the logits.
        pooling: ``"average"`` over the places, or the ``"class token"`` alone.
    """

    features: Tap
    layer: str
    pooling: Pooling

    def weights(self, classifier: Explainable) -> Tensor:
        """(C, D) weights of the layer in the network of ``classifier`` as it is now."""
        if self.layer:
            return class_weights(classifier, self.layer)
        one_each = torch.eye(self.features.channels, dtype=torch.float32, device=classifier.device)
        rows = classifier.outputs.class_rows(one_each)
        assert rows is not None, "scores that are not linear in the network's outputs"
        return rows


@gives_everything_back
def find_linear_end(classifier: Explainable) -> LinearEnd | None:
    """Find the features that the last linear layer reads after pooling, and check that it is so.

    The linear layer applied to a single place of these features is the classifier's own evidence
    for a class there: CAM where places are averaged (also if their average is normalised, see
    :mod:`ttame.features.normalised_average`); the class-embedding projection where a class
    token is read, which lives in the same space as the patches after the final norm.

    Nothing is assumed from names: a run on noise shows which layer's average, or class token, is
    what the last linear layer gets.

    Returns:
        The end, or ``None`` where the logits are not one linear layer on such features.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> end = find_linear_end(tiny_classifier())
        >>> end.features.layer, end.layer, end.pooling
        ('3', '6', 'average')
    """
    if not _is_linear_in_outputs(classifier):
        return None
    network, trace = uncompiled(classifier.network), classifier.trace
    name = find_class_layer(classifier)
    width = None if name is None else width_read(classifier, name)
    # The last such layer before the pooling comes first: it is the one that is pooled.
    records = [*reversed(trace.layers)]
    # Where a layer runs several times, an earlier run may be the one that is pooled.
    records += [
        layer.at(run)
        for layer in reversed(trace.layers)
        for run in reversed(range(len(layer.runs) - 1))
    ]
    # Others are not described, which takes long for networks of many layers.
    widths = {width, trace.number_of_outputs}
    taps = [describe_layer(network, trace, one) for one in records if widths & {*one.shape}]
    if name is None:
        return _class_maps(classifier, taps)
    candidates = [tap for tap in taps if tap is not None and tap.channels == width]
    end = _pooled(classifier, candidates, name)
    if end is not None:
        return end
    images = noise_images(network, classifier.trace.image_size, 1, classifier.trace.channels)
    last_runs = [tap for tap in candidates if tap.run == -1]
    with torch.no_grad(), classifier.frozen():
        normalised = normalised_averages(network, trace, last_runs, images)
    end = _pooled(classifier, normalised, name) if normalised else None
    return end or _class_maps(classifier, taps)


def evidence_tap(classifier: Explainable, end: LinearEnd) -> Tap:
    """Where a place's own part of the logits is read: the linear layer on it is its evidence.

    Returns:
        The features that are averaged; for a class token what each token adds to it, or, where
        that is not found, the tokens behind the final norm.
    """
    if end.pooling == "average":
        return end.features
    network = uncompiled(classifier.network)
    return contributions_tap(network, classifier.trace, end.features.layer) or end.features


def find_class_layer(classifier: Explainable) -> str | None:
    """The dotted name of the last linear layer, if class scores are linear in its output.

    Whatever the layer reads, its rows say what tells the classes apart.

    Returns:
        ``None`` where the logits are neither a linear layer's output nor that of a convolution
        with a kernel of 1x1, which is a linear layer at each place.
    """
    network, width = uncompiled(classifier.network), classifier.trace.number_of_outputs
    layers = [
        layer
        for layer in classifier.trace.layers
        if isinstance(_as_class_layer(network.get_submodule(layer.name)), nn.Linear)
    ] or [
        layer
        for layer in classifier.trace.layers
        if _as_class_layer(network.get_submodule(layer.name)) is not None
        and layer.shape[1] == width
    ]
    if not layers or layers[-1].shape[:2] != (1, width) or not _is_linear_in_outputs(classifier):
        return None
    is_convolution = len(layers[-1].shape) == 4
    return layers[-1].name if is_convolution or len(layers[-1].shape) == 2 else None


def _is_linear_in_outputs(classifier: Explainable) -> bool:
    width = classifier.trace.number_of_outputs
    return classifier.outputs.class_rows(torch.zeros(width, 1, dtype=torch.float32)) is not None


def linear_layer(classifier: Explainable, name: str) -> nn.Linear | nn.Conv2d:
    """The linear layer, or 1x1 convolution, of this name in the network as it is now."""
    layer = _as_class_layer(uncompiled(classifier.network).get_submodule(name))
    assert layer is not None
    return layer


def width_read(classifier: Explainable, name: str) -> int:
    """D, how many features the layer reads; its weights are left alone."""
    layer = linear_layer(classifier, name)
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def _as_class_layer(layer: nn.Module) -> nn.Linear | nn.Conv2d | None:
    if isinstance(layer, nn.Linear):
        return layer
    if not isinstance(layer, nn.Conv2d) or layer.groups != 1 or isinstance(layer.padding, str):
        return None
    plain = {*layer.kernel_size, *layer.stride} == {1} and {*layer.padding} == {0}
    return layer if plain else None


@gives_everything_back
def class_weights(classifier: Explainable, name: str) -> Tensor:
    """(C, D) weights of the linear layer of this name, per class, without a graph.

    Read from the frozen network: parametrisations of a network in train mode, such as spectral
    norm, change their state whenever they are read.
    """
    with classifier.frozen():
        weight = linear_layer(classifier, name).weight.detach().flatten(1)
        rows = classifier.outputs.class_rows(weight)
    assert rows is not None, "scores that are not linear in the network's outputs"
    return rows


@contextlib.contextmanager
def scoring_in_the_last_layer(classifier: Explainable) -> Iterator[None]:
    """Let the last linear layer give class scores itself, while the block runs in this thread.

    A method that shares relevance between what raises and what lowers an output must see the rows
    of each class: behind a single logit z, the scores −z/2 and z/2 would both ask what raises z.
    Nothing is done where the network returns scores already, or has no such layer.
    """
    name = find_class_layer(classifier)
    if name is None or classifier.trace.number_of_outputs == classifier.number_of_classes:
        yield
        return
    layer = linear_layer(classifier, name)
    network = uncompiled(classifier.network)
    flat = _returns_flat(classifier)
    given: list[Tensor] = []
    scored: list[Tensor] = []

    def keep(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given[:] = [args[0] if args else kwargs["input"]]

    def score(_layer: nn.Module, _output: Any) -> Tensor | None:
        bias = None if layer.bias is None else classifier.outputs.class_rows(layer.bias.detach())
        rows, read = class_weights(classifier, name), given.pop()
        scored[:] = [
            F.conv2d(read, rows[..., None, None], bias)
            if isinstance(layer, nn.Conv2d)
            else F.linear(read, rows, bias)
        ]
        return None if flat else scored[0]

    def put_scores(_network: nn.Module, output: Any) -> Any:
        """In place of the layer's one number, from which the network has taken a dimension."""
        (scores,) = scored
        yes = scores.detach()[:, 1].reshape(output.shape)
        rounding = torch.finfo(classifier.dtype).eps
        return scores if _alike(2 * yes, output.detach(), rounding) else output

    last = [(network, put_scores)] if flat else []
    with watching_inputs([(layer, keep)]), watching([(layer, score), *last]):
        yield


def _returns_flat(classifier: Explainable) -> bool:
    """Whether the network returns (B,) numbers."""
    network = uncompiled(classifier.network)
    shapes: list[int] = []

    def note(_network: nn.Module, output: Any) -> None:
        shapes.append(output.ndim if isinstance(output, Tensor) else 2)

    with torch.no_grad(), classifier.frozen(), watching([(network, note)]):
        trace = classifier.trace
        run_network(network, noise_images(network, trace.image_size, 1, trace.channels))
    return shapes[-1] < 2


def _class_maps(classifier: Explainable, taps: Sequence[LayerOutput | None]) -> LinearEnd | None:
    """Maps of the classes whose averages are the network's outputs, perhaps after a ReLU."""
    trace, network = classifier.trace, uncompiled(classifier.network)
    candidates = [
        tap for tap in taps if tap is not None and tap.channels == trace.number_of_outputs
    ]
    if not candidates:
        return None
    images = noise_images(network, trace.image_size, 1, trace.channels)
    with torch.no_grad(), reading_taps(network, trace, candidates) as reading:
        logits = classifier.logits(images)
    rounding = max(torch.finfo(dtype).eps for dtype in (logits.dtype, classifier.dtype))
    for tap in candidates:
        kinds: list[Tap] = [tap, *([RectifiedOutput.like(tap)] if tap.run == -1 else [])]
        for kind in kinds:
            output = reading.outputs.get(tap)
            values = output if kind is tap or output is None else output.relu()
            for pooling, outputs in _ways_to_pool(kind, values, trace.image_size):
                scores = classifier.outputs.scores(outputs)
                if pooling == "average" and _alike(scores, logits.float(), rounding):
                    return LinearEnd(kind, "", "average")
    return None


def _pooled(
    classifier: Explainable, candidates: Sequence[LayerOutput | NormalisedShares], linear: str
) -> LinearEnd | None:
    """The first candidate whose average or class token is what the linear layer gets.

    The input is compared as well as the logits: a head that starts at zero gives the same logits
    for any features.
    """
    network, size = uncompiled(classifier.network), classifier.trace.image_size
    layer = linear_layer(classifier, linear)
    images = noise_images(network, size, 1, classifier.trace.channels)
    given: list[Tensor] = []

    def keep(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values = args[0] if args else kwargs["input"]
        given[:] = [values if values.ndim == 2 else values.float().mean(dim=(2, 3)).to(values)]

    with (
        torch.no_grad(),
        reading_taps(network, classifier.trace, candidates) as reading,
        watching_inputs([(layer, keep)]),
    ):
        logits = classifier.logits(images)
    # A network that asks for autocast itself rounds more than its weights do.
    rounding = max(torch.finfo(each.dtype).eps for each in (*given, logits))
    rounding = max(rounding, torch.finfo(classifier.dtype).eps)
    logits = logits.float()
    bias = None if layer.bias is None else layer.bias.float()
    with classifier.frozen():
        weight = layer.weight.detach().float().flatten(1)

    def is_read(features: Tensor) -> bool:
        again = classifier.outputs.scores(F.linear(features, weight, bias))
        return _alike(features, given[0].float(), rounding) and _alike(again, logits, rounding)

    read = [(tap, reading.outputs.get(tap)) for tap in candidates]
    for tap, output in read:
        for pooling, features in _ways_to_pool(tap, output, size):
            if is_read(features):
                return LinearEnd(tap, linear, pooling)
    # Where a function, not a layer, rectifies before the average, no layer puts that out.
    for tap, output in read:
        if isinstance(tap, LayerOutput) and tap.run == -1 and isinstance(output, Tensor):
            rectified = RectifiedOutput.like(tap)
            for pooling, features in _ways_to_pool(rectified, output.relu(), size):
                if is_read(features):
                    return LinearEnd(rectified, linear, pooling)
    return None


def _ways_to_pool(
    tap: Tap, output: Tensor | None, size: tuple[int, int]
) -> Iterator[tuple[Pooling, Tensor]]:
    """Float (1, C) features that a linear layer could get of what was read."""
    with contextlib.suppress(TapError):
        yield "average", tap.feature_map(output, size).float().mean(dim=(2, 3))
        if tap.prefix_tokens and isinstance(tap, LayerOutput):
            yield "class token", tap.prefix(output)[:, 0].float()


def _alike(actual: Tensor, expected: Tensor, rounding: float) -> bool:
    """Whether two results differ by no more than ``rounding``, relative, explains."""
    share = max(1e-4, 8 * rounding)
    if not bool(expected.isfinite().all()):
        return False
    return actual.shape == expected.shape and torch.allclose(
        actual, expected, rtol=10 * share, atol=share * float(expected.abs().max())
    )
