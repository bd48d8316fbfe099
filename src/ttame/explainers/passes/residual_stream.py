"""What attention adds to the residual stream of a transformer, and what a score makes of it.

Each block adds to the tokens what its attention gives, and then what its MLP gives; where it
normalises, in front of either or behind the sum, the stream goes on. Here a network runs so that
gradients follow the stream alone: what MLPs and later attention make of a token counts as a
constant, and so do the divisors of normalisations. The gradient with respect to what attention
adds is then how much the score draws from it along the direct path.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.contract.differentiation import differentiating
from ttame.features.layer_layouts import token_blocks
from ttame.networks.function_replacement import Operation, Replacement, replacing_functions
from ttame.networks.layer_outputs import first_tensor, uncompiled, watching, watching_inputs

Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True, eq=False)
class AddedAttention:
    """What the attention of one block adds to the tokens: ``W [A_1 V_1; …; A_H V_H]``, and a bias.

    Attributes:
        probabilities: A, (B, H, T, T).
        values: V, (B, H, T, d).
        weight: W, (D, H·d), of the output projection.
        added: (B, T, D), a leaf of the graph.
    """

    probabilities: Tensor
    values: Tensor
    weight: Tensor
    added: Tensor

    def drawn_from_tokens(self, gradient: Tensor) -> Tensor:
        """What a score draws from each token through this block.

        ``Σ_r ⟨g_r, W [A_1(r, t) V_1(t); …]⟩`` over the rows r of the block.

        Args:
            gradient: g, (B, T, D), of the score with respect to ``added``.

        Returns:
            (B, T) float32 or wider.
        """
        images, heads, tokens, _ = self.probabilities.shape
        wide = torch.promote_types(torch.float32, gradient.dtype)
        gradient, weight, values, probabilities = (
            part.detach().to(wide)
            for part in (gradient, self.weight, self.values, self.probabilities)
        )
        by_head = (gradient @ weight).reshape(images, tokens, heads, -1).transpose(1, 2)
        return (by_head @ values.transpose(-2, -1) * probabilities).sum(dim=(1, 2))


def read_stream(
    classifier: Explainable, images: Tensor
) -> tuple[Tensor, tuple[AddedAttention, ...]] | None:
    """Run a network with its residual stream alone in the graph.

    Args:
        classifier: the classifier of a transformer.
        images: (B, C, H, W).

    Returns:
        (B, C) scores, and what each block's attention adds, in the order of the run; ``None`` where
        the blocks are not of this kind.
    """
    found = token_blocks(classifier.trace)
    if found is None:
        return None
    network = uncompiled(classifier.network)
    stream = _Stream()
    with (
        differentiating(),
        stream.watching([network.get_submodule(block.name) for block in found.blocks]),
    ):
        scores = classifier.logits(images.detach())
    runs = sum(len(block.runs) for block in found.blocks)
    if stream.is_lost or len(stream.added) != runs or not scores.requires_grad:
        return None
    return scores, tuple(stream.added)


class _Stream:
    """Follows the stream through the blocks, by the identity of its tensors."""

    def __init__(self) -> None:
        self.added: list[AddedAttention] = []
        self.is_lost = False
        self._inside = 0
        self._tokens: Tensor | None = None
        self._normalised: Tensor | None = None
        self._probabilities: Tensor | None = None
        self._values: Tensor | None = None
        self._weight: Tensor | None = None
        self._attended = False

    @contextlib.contextmanager
    def watching(self, blocks: Sequence[nn.Module]) -> Iterator[None]:
        replacements: dict[Operation, Replacement] = {
            "softmax": self._softmax,
            "matrix product": self._product,
            "linear": self._linear,
            "add": self._add,
            "normalisation": self._normalise,
        }
        with (
            watching_inputs([(block, self._enter) for block in blocks]),
            watching([(block, self._leave) for block in blocks]),
            replacing_functions(replacements),
        ):
            yield

    def _enter(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._tokens, self._normalised = first_tensor((args, kwargs)), None
        self._probabilities = self._values = self._weight = None
        self._attended = False
        self._inside += 1

    def _leave(self, _block: nn.Module, output: Any) -> None:
        self._inside -= 1
        tokens = first_tensor(output)
        goes_on = tokens is not None and (tokens is self._tokens or tokens is self._normalised)
        self.is_lost |= not (self._attended and goes_on)

    def _softmax(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        probabilities = function(*args, **kwargs)
        if self._inside and self._tokens is not None and not self._attended:
            length = self._tokens.shape[1]
            if tuple(probabilities.shape[-2:]) == (length, length):
                self._probabilities = probabilities
        return probabilities

    def _product(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        if self._probabilities is not None and self._values is None and len(args) == 2:
            left, right = args
            if isinstance(left, Tensor) and _holds(left, self._probabilities):
                self._values = right
        return function(*args, **kwargs)

    def _linear(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        if self._values is not None and self._weight is None:
            named = dict(zip(("input", "weight", "bias"), args, strict=False)) | kwargs
            self._weight = named["weight"]
        return function(*args, **kwargs)

    def _add(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        terms = [term for term in args if self._is_stream(term)]
        branches = [
            term
            for term in args
            if isinstance(term, Tensor) and not self._is_stream(term) and self._fits(term)
        ]
        if not self._inside or len(args) != 2 or len(terms) != 1 or len(branches) != 1 or kwargs:
            return function(*args, **kwargs)
        branch = branches[0].detach()
        if self._weight is not None and not self._attended:
            branch = self._attention_of(branch.requires_grad_())
        self._tokens, self._normalised = torch.add(terms[0], branch), None
        return self._tokens

    def _attention_of(self, added: Tensor) -> Tensor:
        assert self._probabilities is not None
        assert self._values is not None
        assert self._weight is not None
        images, tokens = added.shape[:2]
        self._attended = True
        probabilities = self._probabilities.reshape(images, -1, tokens, tokens)
        values = self._values.reshape(images, -1, tokens, self._values.shape[-1])
        self.is_lost |= probabilities.shape[1] * values.shape[3] != self._weight.shape[1]
        self.added.append(AddedAttention(probabilities, values, self._weight, added))
        return added

    def _normalise(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        output = _held(function, args, kwargs)
        if self._inside and args and args[0] is self._tokens:
            self._normalised = output
        return output

    def _is_stream(self, term: Any) -> bool:
        return term is not None and (term is self._tokens or term is self._normalised)

    def _fits(self, term: Tensor) -> bool:
        return self._tokens is not None and term.shape == self._tokens.shape


def _holds(left: Tensor, probabilities: Tensor) -> bool:
    """Whether a factor is the attention, perhaps in another shape or dtype, or with rows of 0."""
    if left.shape[-2:] != probabilities.shape[-2:] or left.numel() != probabilities.numel():
        return False
    same = left.detach().reshape(probabilities.shape).to(probabilities.dtype)
    return left is probabilities or bool(
        ((same - probabilities.detach()).abs() <= 1e-2).logical_or(same == 0).all()
    )


def _held(function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
    """A layer norm whose divisor counts as a constant; other normalisations as they are."""
    if function not in (F.layer_norm, torch.layer_norm):
        return function(*args, **kwargs)
    output = function(*args, **kwargs)
    named = dict(zip(("input", "shape", "weight", "bias", "eps"), args, strict=False))
    named |= {"shape": kwargs.get("normalized_shape", named.get("shape"))}
    named |= {key: value for key, value in kwargs.items() if key != "normalized_shape"}
    values, weight = named["input"], named.get("weight")
    if not values.requires_grad:
        return output
    dimensions = tuple(range(-len(named["shape"]), 0))
    fixed = values.detach()
    scale = (fixed.var(dim=dimensions, keepdim=True, correction=0) + named.get("eps", 1e-5)).rsqrt()
    linear = (values - values.mean(dim=dimensions, keepdim=True)) * scale
    linear = linear if weight is None else linear * weight.detach()
    # The network's own numbers, with the gradient of the linear map.
    return output.detach() + (linear - linear.detach())
