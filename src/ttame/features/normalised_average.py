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

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ttame.errors import TapError
from ttame.features.feature_taps import GridTap, LayerOutput
from ttame.features.tap_reading import TapReading, kept_copy
from ttame.networks.layer_outputs import InputAction, OutputAction, first_tensor
from ttame.networks.network_trace import NetworkTrace, run_network

Normalisation = nn.LayerNorm | nn.RMSNorm


@dataclasses.dataclass(frozen=True)
class NormalisedShares(GridTap):
    """What each place gives to the normalised average of a layer's output.

    The run that is read is the layer's last one before the normalisation.

    Attributes:
        norm: dotted name of the normalisation of the average.
    """

    norm: str = dataclasses.field(kw_only=True)

    holds: ClassVar[str] = "what each place gives to the normalised average"
    mark: ClassVar[str] = "normalised"

    def to_config(self) -> str:
        """``normalised:LAYER:NORM``."""
        return f"{self.mark}:{self.layer}:{self.norm}"

    def read(self, reading: TapReading) -> None:
        """Keep the layer's output, and normalise it as its average will be."""
        latest: list[Tensor | None] = []

        def keep(_layer: nn.Module, output: Any) -> None:
            latest[:] = [kept_copy(output)]

        def normalise(norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            average = first_tensor((args, kwargs))
            assert isinstance(norm, Normalisation)
            if average is None or not latest:
                return
            axis = 1 if self.layout == "channels first" else -1
            features = self.tensor(latest[0]).movedim(axis, -1)
            if average.numel() == features.shape[0] * features.shape[-1]:
                between = [1] * (features.ndim - 2)
                average = average.reshape(features.shape[0], *between, features.shape[-1])
                shares = normalised_as(norm, features, average, bias=True)
                reading.outputs[self] = shares.movedim(-1, axis)

        reading.at_output(self.layer, keep)
        reading.at_input(self.norm, normalise)


def normalised_averages(
    network: nn.Module, trace: NetworkTrace, candidates: Sequence[LayerOutput], images: Tensor
) -> list[NormalisedShares]:
    """Find candidates whose average over the places is what a normalisation gets, by looking.

    Their shares must average to what it puts out, so that one with a scale or a hook of its own is
    not taken for it.

    Args:
        network: frozen, in eval mode; not behind ``torch.compile``.
        trace: the trace of the network.
        candidates: of layers whose features may be averaged.
        images: (1, 3, H, W) of the trace's size, with some noise in them.

    Returns:
        A tap of the shares for each candidate that is, in their order.

    Example:
        >>> import timm
        >>> from ttame.networks.network_trace import trace_network
        >>> from ttame.features.layer_layouts import describe_layer
        >>> network = timm.create_model("convnext_atto", depths=(1, 1, 1, 1)).eval()
        >>> trace = trace_network(network, (64, 64))
        >>> last = describe_layer(network, trace, trace.by_name()["stages.3"])
        >>> with torch.no_grad():
        ...     found = normalised_averages(network, trace, [last], torch.randn(1, 3, 64, 64))
        >>> found[0].layer, found[0].norm
        ('stages.3', 'head.norm')
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
    reading = TapReading(network, trace)
    for tap in candidates:
        tap.read(reading)
    put_out: dict[str, Tensor | None] = {}

    def keep_output(name: str) -> OutputAction:
        def action(_norm: nn.Module, output: Any) -> None:
            put_out[name] = kept_copy(output)

        return action

    for name in norms:
        reading.at_input(name, keep(name))
        reading.at_output(name, keep_output(name))
    with reading.watching():
        run_network(network, images)
    size = (int(images.shape[2]), int(images.shape[3]))
    # Of a norm that runs again it is not known which run is meant.
    once = {name: tensors[0] for name, tensors in given.items() if len(tensors) == 1}
    found = []
    for tap in candidates:
        try:
            features = tap.feature_map(reading.outputs.get(tap), size).movedim(1, -1)
        except TapError:
            continue
        average = features.float().mean(dim=(1, 2)).to(features.dtype)
        for name, tensor in once.items():
            normalised = put_out.get(name)
            if normalised is None or not _alike(average, tensor):
                continue
            shares = normalised_as(norms[name], features, average[:, None, None], bias=True)
            if _alike(shares.float().mean(dim=(1, 2)).to(features.dtype), normalised):
                found.append(NormalisedShares.like(tap, norm=name))
    return found


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
    scaled = vectors.to(exact)
    if isinstance(norm, nn.LayerNorm):
        scaled = scaled - scaled.mean(dim=-1, keepdim=True)
    scaled = scaled / divisor_of(norm, token.to(exact))
    if isinstance(norm.weight, Tensor):
        scaled = scaled * norm.weight
    offset = getattr(norm, "bias", None)
    if bias and offset is not None:
        scaled = scaled + offset
    return scaled.to(vectors.dtype)


def divisor_of(norm: Normalisation, token: Tensor) -> Tensor:
    """By what a normalisation divides a vector: (..., D) to (..., 1), in float32 at least."""
    exact = torch.promote_types(token.dtype, torch.float32)
    token = token.to(exact)
    if isinstance(norm, nn.LayerNorm):
        square = token.var(dim=-1, keepdim=True, correction=0)
    else:
        square = token.square().mean(dim=-1, keepdim=True)
    epsilon = torch.finfo(exact).eps if norm.eps is None else norm.eps
    return (square + epsilon).sqrt()


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
