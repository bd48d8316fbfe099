"""Following the residual stream of a transformer through its blocks while it runs.

Each block adds to the tokens what its attention gives, and then what its MLP gives; it may
normalise in front of either or behind the sum. The stream is known by the identity of its tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from ttame.networks.function_replacement import Operation, Replacement, replacing_functions
from ttame.networks.layer_outputs import first_tensor, watching, watching_inputs

Function = Callable[..., Any]


class AttentionParts(NamedTuple):
    """What the attention of a block is made of.

    Attributes:
        probabilities: (B, H, T, T).
        values: (B, H, T, d).
        weight: (D, H·d), of the output projection.
        bias: (D,), of the output projection.
    """

    probabilities: Tensor
    values: Tensor
    weight: Tensor
    bias: Tensor | None


class StreamWatch:
    """Watches blocks at work; what is made of what it sees is up to those who derive from it.

    Attributes:
        is_lost: whether a block did not add its attention to the stream that goes on.
    """

    def __init__(self) -> None:
        self.is_lost = False
        self._inside = 0
        self._tokens: Tensor | None = None
        self._normalised: Tensor | None = None
        self._probabilities: Tensor | None = None
        self._values: Tensor | None = None
        self._weight: Tensor | None = None
        self._bias: Tensor | None = None
        self._attended = False

    def entered(self, tokens: Tensor | None) -> None:
        """A block begins with these tokens."""

    def summed(self, stream: Tensor, branch: Tensor, total: Callable[[], Tensor]) -> Tensor:
        """The stream after a sum that is not that of attention.

        Args:
            stream: the stream, or its normalisation, which is one of the terms.
            branch: the other term.
            total: gives their sum, which may be made in place.
        """
        del stream, branch
        return total()

    def attended(
        self,
        stream: Tensor,
        branch: Tensor,
        total: Callable[[], Tensor],
        attention: AttentionParts,
    ) -> Tensor:
        """The stream after the sum with what attention gives.

        Args:
            stream: the stream, or its normalisation, which is one of the terms.
            branch: the other term.
            total: gives their sum, which may be made in place.
            attention: what that is made of.
        """
        del attention
        return self.summed(stream, branch, total)

    def normalised(
        self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool
    ) -> Any:
        """What a normalisation gives; ``stream`` says whether it is one of the stream."""
        del stream
        return function(*args, **kwargs)

    @contextlib.contextmanager
    def watching(
        self, blocks: Sequence[nn.Module], more: dict[Operation, Replacement] | None = None
    ) -> Iterator[None]:
        """Watch while the block runs one forward pass.

        Args:
            blocks: of the network.
            more: operation to what else is to run instead of it.
        """
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
            replacing_functions(replacements | (more or {})),
        ):
            yield

    def _enter(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tokens = first_tensor((args, kwargs))
        self.entered(tokens)
        self._tokens, self._normalised = tokens, None
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
            self._weight, self._bias = named["weight"], named.get("bias")
        return function(*args, **kwargs)

    def _add(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        def total() -> Any:
            return function(*args, **kwargs)

        terms = [term for term in args if self._is_stream(term)]
        branches = [
            term
            for term in args
            if isinstance(term, Tensor) and not self._is_stream(term) and self._fits(term)
        ]
        if not self._inside or len(args) != 2 or len(terms) != 1 or len(branches) != 1 or kwargs:
            return total()
        if self._weight is not None and not self._attended:
            self._attended = True
            attention = self._attention(*branches[0].shape[:2])
            tokens = self.attended(terms[0], branches[0], total, attention)
        else:
            tokens = self.summed(terms[0], branches[0], total)
        self._tokens, self._normalised = tokens, None
        return tokens

    def _attention(self, images: int, tokens: int) -> AttentionParts:
        assert self._probabilities is not None
        assert self._values is not None
        assert self._weight is not None
        probabilities = self._probabilities.reshape(images, -1, tokens, tokens)
        values = self._values.reshape(images, -1, tokens, self._values.shape[-1])
        self.is_lost |= probabilities.shape[1] * values.shape[3] != self._weight.shape[1]
        return AttentionParts(probabilities, values, self._weight, self._bias)

    def _normalise(self, function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
        stream = bool(self._inside and args and args[0] is self._tokens)
        output = self.normalised(function, args, kwargs, stream=stream)
        if stream:
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
