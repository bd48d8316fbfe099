"""What every token adds to what the last linear layer reads, to first order.

Where layers stand between the class token and the last linear layer, as BERT's pooler, or blocks
normalise the sum of what they add, the logits are not linear in what tokens add to the class token
(:mod:`ttame.features.token_contributions`). Near the input at hand they are. In every block
attention adds

    u_t  =  W_o [ A_1(c, t) V_1(t) ; … ; A_H(c, t) V_H(t) ]      c: the first token

to the residual stream of the first token. From there the vectors go the way of the stream, one by
one and in the same forward pass: through normalisations with the divisors of the first token,
through linear layers without their biases, and through an activation by its slope, ``f'(h) ⊙ u_t``.
What MLPs and later attention make of a token is left out. For class k, ``w_k · u_t`` is then the
product of the gradient of the logit along the stream with what the token adds, without a backward
pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ttame.features.feature_taps import GridTap
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.normalised_average import alike
from ttame.features.stream_watch import AttentionParts, Function, StreamWatch
from ttame.features.tap_reading import TapReading
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import first_tensor
from ttame.networks.network_trace import NetworkTrace, noise_images, run_network


@dataclasses.dataclass(frozen=True)
class ReadContributions(GridTap):
    """What each token adds to what its ``layer``, the last linear one, reads; (B, T, D)."""

    holds: ClassVar[str] = "what each token adds to what the last layer reads, to first order"
    mark: ClassVar[str] = "first-order"

    def to_config(self) -> str:
        """``first-order:LAYER``."""
        return f"{self.mark}:{self.layer}"

    def read(self, reading: TapReading) -> None:
        """Follow the stream of the first token, and carry along what was added."""
        self.watched(reading, _Carried())

    def watched(self, reading: TapReading, carried: _Carried) -> None:
        """Let ``carried`` watch the pass, and keep what arrives at the layer."""
        found = token_blocks(reading.trace)
        assert found is not None

        def keep(_layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            arrived = carried.of(first_tensor((args, kwargs)))
            if arrived is not None and not carried.is_lost:
                reading.outputs[self] = arrived

        reading.at_input(self.layer, keep)
        blocks = [reading.network.get_submodule(block.name) for block in found.blocks]
        reading.during(carried.watching(blocks, {"activation": carried.activated}))


def read_contributions_tap(
    network: nn.Module, trace: NetworkTrace, layer: str
) -> ReadContributions | None:
    """Describe what tokens add to what a linear layer reads, and check on noise that it is so.

    In each block the contributions of all tokens, and the bias, must be together what attention
    adds to the first token; what leaves a block must be what enters the next one, and what the
    linear layer reads must be made of the first token alone, by layers that act on it as a whole.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: of the network.
        layer: name of the last linear layer.

    Returns:
        ``None`` where this is not so.

    Example:
        >>> from ttame.testing import tiny_text_classifier
        >>> bert = tiny_text_classifier()
        >>> tap = read_contributions_tap(bert.network, bert.trace, "model.classifier")
        >>> tap.in_words()
        'first-order:model.classifier: 16 channels on a 1x32 grid, tokens with 0 before the patches'
    """
    blocks, reader = token_blocks(trace), network.get_submodule(layer)
    if blocks is None or not isinstance(reader, nn.Linear):
        return None
    tokens = describe_layer(network, trace, blocks.blocks[-1])
    if tokens is None or tokens.batch_axis:
        return None
    tap = ReadContributions.like(tokens)
    tap = dataclasses.replace(tap, layer=layer, channels=reader.in_features)
    reading, carried = TapReading(network, trace), _CheckedCarried()
    tap.watched(reading, carried)
    with torch.no_grad(), frozen(network), reading.watching():
        run_network(network, noise_images(network, trace.image_size, 1, trace.channels))
    runs = sum(len(block.runs) for block in blocks.blocks)
    return tap if reading.outputs.get(tap) is not None and carried.runs == runs else None


class _Carried(StreamWatch):
    """Carries what tokens added to the first one along with the tensors that it went into.

    Attributes:
        runs: of blocks, so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0
        self._known: list[tuple[Tensor, Tensor]] = []

    def of(self, tensor: Tensor | None) -> Tensor | None:
        """(B, T, D) contributions to the first row of (B, T, D) tokens, or to (B, D) rows."""
        for known, contributions in reversed(self._known):
            if tensor is known or (tensor is not None and _is_first_row(tensor, known)):
                return contributions
        return None

    def entered(self, tokens: Tensor | None) -> None:
        self.is_lost |= tokens is None or (self.runs > 0 and self.of(tokens) is None)
        self.runs += 1

    def summed(self, stream: Tensor, branch: Tensor, total: Callable[[], Tensor]) -> Tensor:
        before, output = self.of(stream), total()
        self._known = [] if before is None else [(output, before)]
        return output

    def attended(
        self,
        stream: Tensor,
        branch: Tensor,
        total: Callable[[], Tensor],
        attention: AttentionParts,
    ) -> Tensor:
        before, added = self.of(stream), _added_to_first(attention)
        self.see_added(added, branch, attention)
        output = total()
        self._known = [(output, added if before is None else before + added)]
        return output

    def see_added(self, added: Tensor, branch: Tensor, attention: AttentionParts) -> None:
        """What tokens add in a block, before it is added."""

    def normalised(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool
    ) -> Any:
        output = function(*args, **kwargs)
        contributions = self.of(args[0]) if args and (stream or not self._inside) else None
        if contributions is not None:
            through = _normalised_like(function, args, kwargs, contributions)
            if through is None:
                self.is_lost = True
            else:
                self._known.append((output, through))
        return output

    def activated(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        contributions = self._behind(args)
        slope = None if contributions is None else _slope(function, args, kwargs)
        output = function(*args, **kwargs)
        if contributions is not None and slope is not None:
            self._known.append((output, contributions * _first(slope)[:, None]))
        return output

    def _linear(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        output = super()._linear(function, args, kwargs)
        contributions = self._behind(args)
        if contributions is not None:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self._known.append((output, F.linear(contributions, weight.to(contributions))))
        return output

    def _behind(self, args: tuple[Any, ...]) -> Tensor | None:
        """What was added to an operation's argument, behind the blocks."""
        inside = self._inside or not args or not isinstance(args[0], Tensor)
        return None if inside else self.of(args[0])


class _CheckedCarried(_Carried):
    """Also compares numbers, for which the CPU would wait for a GPU."""

    def see_added(self, added: Tensor, branch: Tensor, attention: AttentionParts) -> None:
        expected = added.sum(dim=1)
        if attention.bias is not None:
            expected = expected + attention.bias
        self.is_lost |= not alike(branch[:, 0].to(expected), expected)


def _added_to_first(attention: AttentionParts) -> Tensor:
    """(B, T, D) float32 or wider: ``W [A_1(c, t) V_1(t); …]``."""
    wide = torch.promote_types(torch.float32, attention.values.dtype)
    row, values = attention.probabilities[:, :, 0, :, None].to(wide), attention.values.to(wide)
    return F.linear((row * values).transpose(1, 2).flatten(2), attention.weight.detach().to(wide))


def _is_first_row(tensor: Tensor, tokens: Tensor) -> bool:
    """Whether (B, D) or (B, 1, D) rows are a view of the first of (B, T, D) tokens."""
    if tokens.ndim != 3 or tensor.data_ptr() != tokens.data_ptr():
        return False
    first = tokens[:, 0]
    rows = tensor[:, 0] if tensor.ndim == 3 and tensor.shape[1] == 1 else tensor
    return rows.shape == first.shape and rows.stride() == first.stride()


def _first(values: Tensor) -> Tensor:
    """(B, D): the rows, or the first ones of (B, T, D)."""
    return values[:, 0] if values.ndim == 3 else values


def _normalised_like(
    function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], vectors: Tensor
) -> Tensor | None:
    """(B, T, D) vectors through a layer norm with the divisor of the first token."""
    if function not in (F.layer_norm, torch.layer_norm):
        return None
    names = ("input", "normalized_shape", "weight", "bias", "eps")
    named = dict(zip(names, args, strict=False)) | kwargs
    if tuple(named["normalized_shape"]) != (vectors.shape[-1],):
        return None
    token = _first(named["input"]).to(vectors)
    square = token.var(dim=-1, keepdim=True, correction=0) + named.get("eps", 1e-5)
    scaled: Tensor = (vectors - vectors.mean(dim=-1, keepdim=True)) * square.rsqrt()[:, None]
    weight: Tensor | None = named.get("weight")
    return scaled if weight is None else scaled * weight.detach().to(vectors)


def _slope(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The derivative of a function that acts on every number by itself, float32 or wider."""
    wide = torch.promote_types(torch.float32, args[0].dtype)
    with torch.inference_mode(False), torch.enable_grad():
        at = args[0].detach().to(wide, copy=True).requires_grad_()
        # A copy again: the function may work in place.
        slope: Tensor
        (slope,) = torch.autograd.grad(function(at.clone(), *args[1:], **kwargs).sum(), at)
    return slope
