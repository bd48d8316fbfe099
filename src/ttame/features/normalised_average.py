"""What each place gives to an average that is normalised before the last linear layer.

ConvNeXt, BEiT and others average first and normalise then: the last linear layer reads
``y = N(mean_x A(x))``. For one image the divisor of ``N`` is a number, so that ``N`` is affine and
every place has a share of its own in what it puts out::

    A'(x)  =  γ (A(x) − mean_c A(x)) / sqrt(var_c(mean_x A(x)) + ε) + β        LayerNorm
    A'(x)  =  γ A(x) / sqrt(mean_c (mean_x A(x))² + ε)                         RMSNorm

whose average over the places is ``y`` exactly. That all places together set the divisor is left
out: a place that makes it larger weakens the evidence of every other one.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import TapError
from ttame.features.feature_taps import FeatureTap, normalised_name
from ttame.networks.layer_outputs import (
    InputAction,
    OutputAction,
    first_tensor,
    reading,
    watching,
    watching_inputs,
)
from ttame.networks.network_trace import NetworkTrace, run_network

Normalisation = nn.LayerNorm | nn.RMSNorm


def normalised_averages(
    network: nn.Module, trace: NetworkTrace, candidates: Sequence[FeatureTap], images: Tensor
) -> list[FeatureTap]:
    """Find candidates whose average over the places is what a normalisation gets, by looking.

    Their shares must average to what it puts out, so that one with a scale or a hook of its own is
    not taken for it.

    Args:
        network: frozen, in eval mode; not behind ``torch.compile``.
        trace: of the network.
        candidates: of layers whose features may be averaged.
        images: (1, 3, H, W) of the trace's size, with some noise in them.

    Returns:
        A tap of the shares for each candidate that is, in their order; see
        :func:`ttame.features.feature_taps.normalised_name`.

    Example:
        >>> import timm
        >>> from ttame.networks.network_trace import trace_network
        >>> from ttame.features.layer_layouts import describe_layer
        >>> network = timm.create_model("convnext_atto", depths=(1, 1, 1, 1)).eval()
        >>> trace = trace_network(network, (64, 64))
        >>> last = describe_layer(network, trace, trace.by_name()["stages.3"])
        >>> with torch.no_grad():
        ...     found = normalised_averages(network, trace, [last], torch.randn(1, 3, 64, 64))
        >>> found[0].layer
        'normalised:stages.3:head.norm'
    """
    given: dict[str, list[Tensor]] = {}

    def keep(name: str) -> InputAction:
        def action(_norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tensor = first_tensor((args, kwargs))
            given.setdefault(name, []).extend([] if tensor is None else [tensor])

        return action

    # A colon stands between the two names of a tap.
    candidates = [tap for tap in candidates if ":" not in tap.layer]
    norms = _norms(network, trace, {tap.channels for tap in candidates})
    if not norms:
        return []
    modules = {tap.layer: network.get_submodule(tap.layer) for tap in candidates}
    with (
        reading({**modules, **norms}) as outputs,
        watching_inputs([(norm, keep(name)) for name, norm in norms.items()]),
    ):
        run_network(network, images)
    size = (int(images.shape[2]), int(images.shape[3]))
    # Of a norm that runs again it is not known which run is meant.
    once = {name: tensors[0] for name, tensors in given.items() if len(tensors) == 1}
    found = []
    for tap in candidates:
        try:
            features = tap.feature_map(outputs.get(tap.layer), size).movedim(1, -1)
        except TapError:
            continue
        average = features.float().mean(dim=(1, 2)).to(features.dtype)
        for name, tensor in once.items():
            put_out = first_tensor(outputs.get(name))
            if put_out is None or not _alike(average, tensor):
                continue
            shares = normalised_as(norms[name], features, average[:, None, None], bias=True)
            if _alike(shares.float().mean(dim=(1, 2)).to(features.dtype), put_out):
                found.append(dataclasses.replace(tap, layer=normalised_name(tap.layer, name)))
    return found


@contextlib.contextmanager
def reading_shares(network: nn.Module, tap: FeatureTap, outputs: dict[str, Any]) -> Iterator[None]:
    """Put the shares of every place into ``outputs``, under the tap's name, while the block runs.

    Args:
        network: not behind ``torch.compile``.
        tap: as :func:`normalised_averages` gives it.
        outputs: gets what the layer put out, normalised, in the layer's own layout.
    """
    latest: list[Tensor] = []

    def keep(_layer: nn.Module, output: Any) -> None:
        latest[:] = [tap.tensor(output)]

    def normalise(norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        average = first_tensor((args, kwargs))
        assert isinstance(norm, Normalisation)
        if average is None or not latest:
            return
        axis = 1 if tap.layout == "channels first" else -1
        features = latest[0].movedim(axis, -1)
        if average.numel() == len(features) * features.shape[-1]:
            between = [1] * (features.ndim - 2)
            average = average.reshape(len(features), *between, features.shape[-1])
            outputs[tap.layer] = normalised_as(norm, features, average, bias=True).movedim(-1, axis)

    exits: list[tuple[nn.Module, OutputAction]] = [(network.get_submodule(tap.read_at), keep)]
    entries: list[tuple[nn.Module, InputAction]] = [
        (network.get_submodule(tap.normalised_by), normalise)
    ]
    with watching(exits), watching_inputs(entries):
        yield


def normalised_as(
    norm: Normalisation, vectors: Tensor, token: Tensor, *, bias: bool = False
) -> Tensor:
    """Vectors through a normalisation whose divisor is that of one vector.

    Half precision is left for it, as torch does, since squares would overflow.

    Args:
        norm: over the last dimension.
        vectors: (..., D).
        token: (..., D) with ones where all vectors share it.
        bias: whether each of them gets the whole bias too.

    Returns:
        (..., D) in the dtype of the vectors.
    """
    exact = torch.promote_types(vectors.dtype, torch.float32)
    scaled, token = vectors.to(exact), token.to(exact)
    if isinstance(norm, nn.LayerNorm):
        scaled = scaled - scaled.mean(dim=-1, keepdim=True)
        square = token.var(dim=-1, keepdim=True, correction=0)
    else:
        square = token.square().mean(dim=-1, keepdim=True)
    epsilon = torch.finfo(exact).eps if norm.eps is None else norm.eps
    scaled = scaled / (square + epsilon).sqrt()
    if isinstance(norm.weight, Tensor):
        scaled = scaled * norm.weight
    offset = getattr(norm, "bias", None)
    if bias and offset is not None:
        scaled = scaled + offset
    return scaled.to(vectors.dtype)


def alike(actual: Tensor, expected: Tensor, roundings: int = 16) -> bool:
    """Whether two results differ by no more than so many roundings explain."""
    share = max(1e-4, roundings * torch.finfo(expected.dtype).eps)
    return bool(((actual - expected).abs() <= share * expected.abs().max()).all())


def _alike(average: Tensor, tensor: Tensor) -> bool:
    """Whether a tensor of any shape holds these (1, C) values and no others."""
    return tensor.numel() == average.numel() and alike(
        average, tensor.reshape(average.shape), roundings=4
    )


def _norms(network: nn.Module, trace: NetworkTrace, widths: set[int]) -> dict[str, Normalisation]:
    """Those that were run and normalise vectors of one of these widths, by name."""
    modules = {layer.name: network.get_submodule(layer.name) for layer in trace.layers}
    return {
        name: module
        for name, module in modules.items()
        if isinstance(module, Normalisation)
        and tuple(module.normalized_shape) in {(width,) for width in widths}
        and ":" not in name
    }
