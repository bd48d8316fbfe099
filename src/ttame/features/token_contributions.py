"""What every token adds to the class token, in all blocks of a Vision Transformer.

In the residual stream the class token is a sum: its first value, and what each block's attention
and MLP add to it. Attention adds a sum over tokens again, so that there is one vector for each
token of each block::

    u_t  =  Σ_blocks  S W_o [ A_1(c, t) V_1(t) ; … ; A_H(c, t) V_H(t) ]      c: the class token

with the attention probabilities ``A_h``, the values ``V_h``, the output projection ``W_o`` and the
layer scale ``S`` where a network has one. The vectors are put through the final normalisation as
it acts on the class token, with its divisor taken for a constant. The logit of class k is then
``Σ_t w_k · u_t`` and what the first token, the biases and the MLPs add: the classifier's own
evidence for the class at a token, exact for the direct path and silent about the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.errors import TapError
from ttame.features.feature_taps import GridTap
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.normalised_average import alike, normalised_as
from ttame.features.tap_reading import TapReading
from ttame.networks.frozen_network import frozen
from ttame.networks.function_replacement import Operation, Replacement
from ttame.networks.layer_outputs import first_tensor
from ttame.networks.network_trace import LayerRecord, NetworkTrace, noise_images, run_network

Function = Callable[..., Any]
Arguments = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class TokenContributions(GridTap):
    """What each token adds to the class token; its ``layer`` is the final normalisation.

    ``tap.prefix`` and ``tap.feature_map`` take the (B, T, D) contributions as they take tokens.
    """

    holds: ClassVar[str] = "what each token adds to the class token"
    mark: ClassVar[str] = "contributions"

    def to_config(self) -> str:
        """``contributions:NORM``."""
        return f"{self.mark}:{self.layer}"

    def read(self, reading: TapReading) -> None:
        """Watch the blocks, and add up what their tokens give."""
        self.watched(reading, Passage)

    def watched(self, reading: TapReading, passage: type[Passage]) -> WatchedContributions:
        """Watch the blocks with one :class:`Passage` each; what will be seen of them."""

        def keep(contributions: Tensor) -> None:
            reading.outputs[self] = contributions

        found = token_blocks(reading.trace)
        assert found is not None
        contributions = WatchedContributions(keep, passage, self.batch_axis)
        for block in found.blocks:
            reading.at_input(block.name, contributions.enter)
            reading.at_output(block.name, contributions.leave)
        reading.at_input(self.layer, contributions.finish)
        reading.replacing(contributions.replacements())
        return contributions


def contributions_tap(
    network: nn.Module, trace: NetworkTrace, features: str
) -> TokenContributions | None:
    """Describe what the tokens add to the class token, and check on noise that it is so.

    In each block the contributions of all tokens, and the biases, must be together what attention
    adds to the class token, and nothing but further sums may follow: a block that normalises its
    sum, as the Transformer of 2017 did, changes what was added. What leaves a block must be what
    enters the next one, or the final normalisation, and nothing else may attend to the tokens:
    blocks that are not among those watched would be left out.

    Args:
        network: in any mode; not behind ``torch.compile``.
        trace: the trace of the network.
        features: name of the layer that gives the class token which the last linear layer reads:
            the final normalisation or a layer that ends with it.

    Returns:
        A tap with tokens at the normalisation; ``None`` where the network has no such blocks, or
        what they add is not found.

    Example:
        >>> import timm
        >>> from ttame.networks.network_trace import trace_network
        >>> network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2)
        >>> trace = trace_network(network, (32, 32))
        >>> contributions_tap(network, trace, "norm").in_words()
        'contributions:norm: 192 channels on a 2x2 grid, tokens with 1 before the patches'
    """
    norm = _final_norm(network, trace, features)
    blocks = token_blocks(trace)
    if norm is None or blocks is None or norm.order < blocks.blocks[-1].order:
        return None
    tokens = describe_layer(network, trace, norm)
    if tokens is None or not tokens.prefix_tokens:
        return None
    tap, reading = TokenContributions.like(tokens), TapReading(network, trace)
    found = tap.watched(reading, _CheckedPassage)
    with torch.no_grad(), frozen(network), reading.watching():
        run_network(network, noise_images(network, trace.image_size, 1, trace.channels))
    return tap if _is_whole(found, len(blocks.blocks)) else None


def _is_whole(found: WatchedContributions, blocks: int) -> bool:
    """Whether the class token went through these blocks, one after the other, and no others."""
    passages = [seen for seen in found.passages if isinstance(seen, _CheckedPassage)]
    if len(passages) != blocks or found.class_token is None:
        return False
    if passages[0].shape[1 - found.batch_axis] in found.attended_outside:
        return False
    arrivals = [*(passage.entered for passage in passages[1:]), found.class_token]
    return all(
        passage.is_whole and passage.residual is not None and alike(passage.residual, arrival)
        for passage, arrival in zip(passages, arrivals, strict=True)
    )


def _final_norm(network: nn.Module, trace: NetworkTrace, features: str) -> LayerRecord | None:
    """The last normalisation that runs in a layer, if the layer puts out the same tokens."""
    records = trace.by_name()
    inside = [
        layer
        for layer in trace.layers
        if (layer.name == features or layer.name.startswith(f"{features}."))
        and isinstance(network.get_submodule(layer.name), nn.LayerNorm | nn.RMSNorm)
    ]
    return max(inside, key=lambda layer: layer.order) if features in records and inside else None


class Passage:
    """One block at work: what is known so far of the way from attention to the class token.

    The way is seen in this order: softmax, product with the values, output projection, layer
    scale if there is one, sum with the residual. What comes before its turn is not on it.
    """

    def __init__(self, tokens: Tensor, batch_axis: int = 0) -> None:
        self.shape = tokens.shape
        self.batch_axis = batch_axis
        self.probabilities: Tensor | None = None
        self.weighted: Tensor | None = None
        self.contributions: Tensor | None = None
        self.bias: Tensor | None = None
        self.is_over = False
        self.attends_again = False

    def see_softmax(self, probabilities: Tensor) -> None:
        """The probabilities of attention between these tokens."""
        length = self.shape[1 - self.batch_axis]
        if tuple(probabilities.shape[-2:]) == (length, length):
            self.probabilities = probabilities

    def see_product(self, left: Any, right: Any) -> None:
        """The probabilities times the values."""
        if self.probabilities is None or not _is_cast_of(left, self.probabilities):
            return
        if self.is_over:
            self.attends_again = True
            return
        values = right.reshape(self.shape[self.batch_axis], -1, *right.shape[-2:])
        attended = left.reshape(self.shape[self.batch_axis], -1, *left.shape[-2:])[:, :, 0, :, None]
        self.weighted = (attended * values).transpose(1, 2).flatten(2)
        self.probabilities = None

    def see_linear(self, weight: Tensor, bias: Tensor | None) -> None:
        """The output projection."""
        weighted, self.weighted = self.weighted, None
        if weighted is not None and weight.shape[1] == weighted.shape[2]:
            self.contributions = F.linear(weighted, weight)
            self.bias = weight.new_zeros(len(weight)) if bias is None else bias

    def see_factors(self, factors: Sequence[Any]) -> None:
        """A layer scale: a factor for each channel, between the projection and the residual."""
        if self.contributions is None or self.bias is None or self.is_over:
            return
        for factor in factors:
            is_vector = isinstance(factor, Tensor) and factor.ndim == 1
            if is_vector and factor.shape[0] == self.shape[2]:
                self.contributions, self.bias = self.contributions * factor, self.bias * factor

    def see_sum(self, terms: Sequence[Any], add: Callable[[], Any]) -> Any:
        """The residual: the first sum of tokens after the projection."""
        if self.contributions is not None and len(self.tokens_among(terms)) == 2:
            self.is_over = True
        return add()

    def see_end(self, output: Any) -> None:
        """The block puts out its tokens."""

    def tokens_among(self, terms: Sequence[Any]) -> list[Tensor]:
        """Those terms that have the tokens' shape."""
        return [term for term in terms if isinstance(term, Tensor) and term.shape == self.shape]

    def class_token(self, tokens: Tensor) -> Tensor:
        """The first token of each image, (B, D)."""
        return tokens.select(1 - self.batch_axis, 0)


class _CheckedPassage(Passage):
    """A passage that also finds out whether the way is the whole one.

    What attention puts out must be a term of the first sum, and this sum must leave the block with
    nothing but further terms. Numbers are compared, for which the CPU would wait for a GPU.
    """

    def __init__(self, tokens: Tensor, batch_axis: int = 0) -> None:
        super().__init__(tokens, batch_axis)
        self.entered = self.class_token(tokens).clone()
        self.residual: Tensor | None = None
        self.is_whole = False

    def see_sum(self, terms: Sequence[Any], add: Callable[[], Any]) -> Any:
        expected = self.residual
        if not self.is_over and self.contributions is not None and self.bias is not None:
            expected = self.contributions.sum(dim=1) + self.bias
        tokens = self.tokens_among(terms)
        # Compared before the sum, which may be made in place.
        goes_on = expected is not None and any(
            alike(expected, self.class_token(term)) for term in tokens
        )
        total = super().see_sum(terms, add)
        if goes_on:
            self.residual = self.class_token(total).clone()
        return total

    def see_end(self, output: Any) -> None:
        tokens = first_tensor(output)
        if self.residual is not None and tokens is not None and tokens.shape == self.shape:
            self.is_whole = not self.attends_again and alike(
                self.residual, self.class_token(tokens)
            )


def _is_cast_of(tensor: Any, probabilities: Tensor) -> bool:
    """Whether a tensor is these probabilities, or they in another dtype."""
    if tensor is probabilities or not isinstance(tensor, Tensor):
        return tensor is probabilities
    return (
        tensor.dtype != probabilities.dtype
        and tensor.shape == probabilities.shape
        and torch.equal(tensor, probabilities.to(tensor.dtype))
    )


class WatchedContributions:
    """Watches the blocks and the final normalisation of one forward pass.

    Attributes:
        passages: the passages of the blocks, in the order in which they ran.
        class_token: (B, D), as the final normalisation got it.
        attended_outside: how many tokens attended to each other where no block was at work.
    """

    def __init__(
        self, keep: Callable[[Tensor], None], passage: type[Passage], batch_axis: int = 0
    ) -> None:
        self.keep = keep
        self.passage = passage
        self.batch_axis = batch_axis
        self.running: list[Passage] = []
        self.passages: list[Passage] = []
        self.class_token: Tensor | None = None
        self.attended_outside: set[int] = set()

    def enter(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a block."""
        tokens = first_tensor((args, kwargs))
        if tokens is None or tokens.ndim != 3:
            raise TapError("a block that gets no tokens", allowed="(B, T, D) tokens")
        self.running.append(self.passage(tokens, self.batch_axis))

    def leave(self, _block: nn.Module, output: Any) -> None:
        """After a block."""
        passage = self.running.pop()
        passage.see_end(output)
        self.passages.append(passage)

    def finish(self, norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the final normalisation: add up, and normalise as the class token will be."""
        tokens = first_tensor((args, kwargs))
        tokens = None if tokens is None else tokens.movedim(self.batch_axis, 0)
        found = [part.contributions for part in self.passages if part.contributions is not None]
        assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
        self.class_token = None if tokens is None else tokens[:, 0]
        if tokens is not None and found and len(found) == len(self.passages):
            self.keep(normalised_as(norm, sum(found[1:], found[0]), tokens[:, :1]))

    def replacements(self) -> dict[Operation, Replacement]:
        """What has to be seen of the network's operations."""

        def softmax(function: Function, args: Arguments, kwargs: dict[str, Any]) -> Any:
            probabilities = function(*args, **kwargs)
            if self.running:
                self.running[-1].see_softmax(probabilities)
            elif probabilities.ndim > 2 and probabilities.shape[-2] == probabilities.shape[-1]:
                self.attended_outside.add(int(probabilities.shape[-1]))
            return probabilities

        def product(function: Function, args: Arguments, kwargs: dict[str, Any]) -> Any:
            if self.running and len(args) == 2:
                self.running[-1].see_product(*args)
            return function(*args, **kwargs)

        def linear(function: Function, args: Arguments, kwargs: dict[str, Any]) -> Any:
            if self.running:
                named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
                self.running[-1].see_linear(named["weight"], named.get("bias"))
            return function(*args, **kwargs)

        def multiply(function: Function, args: Arguments, kwargs: dict[str, Any]) -> Any:
            if self.running:
                self.running[-1].see_factors(args)
            return function(*args, **kwargs)

        def add(function: Function, args: Arguments, kwargs: dict[str, Any]) -> Any:
            if not self.running:
                return function(*args, **kwargs)
            return self.running[-1].see_sum(args, lambda: function(*args, **kwargs))

        return {
            "softmax": softmax,
            "matrix product": product,
            "linear": linear,
            "multiply": multiply,
            "add": add,
        }
