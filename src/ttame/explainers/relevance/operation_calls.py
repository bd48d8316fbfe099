"""A call of one operation of the network, as a table of rules and a rule see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from ttame.explainers.relevance.function_arguments import (
    convolution_arguments,
    linear_arguments,
    two_operands,
)
from ttame.explainers.relevance.recording import has_moved_only
from ttame.networks.function_replacement import Operation

CONSTANT_PRODUCT = "matrix product with a constant"
"""A matrix product with one factor that does not depend on the image."""

OPERATIONS: tuple[str, ...] = (*get_args(Operation), CONSTANT_PRODUCT)
"""The operations that are known by name; any other goes by the name of its torch function."""

LinearMap = Callable[[Tensor, Tensor], Tensor]
"""(input, weight) to output, linear in both, without a bias."""


class Layer(NamedTuple):
    """A module of the network.

    Attributes:
        names: its dotted names; several if it stands in several places.
        module: itself.
    """

    names: tuple[str, ...]
    module: nn.Module

    def in_words(self) -> str:
        """Name and type.

        Example:
            >>> Layer(("features.0",), nn.ReLU()).in_words()
            "layer 'features.0' (ReLU)"
        """
        kind = type(self.module).__name__
        return f"layer {self.names[0]!r} ({kind})" if self.names[0] else f"the network ({kind})"


@dataclasses.dataclass(frozen=True)
class OperationCall:
    """One call of a torch function by the network.

    Attributes:
        operation: one of ``OPERATIONS``, or the function's own name.
        function: the torch function.
        args: its arguments; the first one is always here and never in ``kwargs``.
        kwargs: those by name.
        images: B, how many images the first dimension of a batch holds.
        layer: the innermost module that is running; ``None`` where nobody looks, which is where no
            row of the table asks for layers.
    """

    operation: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    images: int = 1
    layer: Layer | None = None

    @property
    def values(self) -> Any:
        """The input that the operation is about: of a product with a constant the other factor."""
        if self.operation == CONSTANT_PRODUCT:
            left, right = two_operands(*self.args, **self.kwargs)
            return left if depends_on_image(left) else right
        return self.args[0] if self.args else None

    @property
    def sees_image(self) -> bool:
        """Whether the input holds values of the image, moved but not computed with."""
        values = self.values
        return depends_on_image(values) and has_moved_only(values)

    def in_words(self) -> str:
        """The operation, its function if that is called otherwise, and where it runs."""
        function = function_name(self.function)
        named = function in self.operation.split()
        where = "" if self.layer is None else f" in {self.layer.in_words()}"
        return f"the operation {self.operation}{'' if named else f' ({function})'}{where}"


def function_name(function: Callable[..., Any]) -> str:
    """A torch function's own name, as it is typed behind ``torch.`` or ``torch.linalg.``.

    Example:
        >>> function_name(torch.square), function_name(torch.linalg.vector_norm)
        ('square', 'vector_norm')
    """
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.removeprefix("linalg_").removeprefix("special_")


def depends_on_image(value: Any) -> bool:
    """Whether a value is a tensor in the image's graph."""
    return isinstance(value, Tensor) and value.requires_grad


def table_name(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What a call of a known operation is called in a table."""
    if operation != "matrix product":
        return operation
    of_images = all(map(depends_on_image, two_operands(*args, **kwargs)))
    return operation if of_images else CONSTANT_PRODUCT


@dataclasses.dataclass(frozen=True)
class WeightedCall:
    """A linear layer, a convolution or a matrix product with a constant.

    Attributes:
        run: (input, weight) to output, with the bias.
        operation: the same without the bias.
        values: the input.
        weight: the weight; does not depend on the image.
        bias: broadcastable to the output, or ``None``.
        channels: the dimension of the output that the first dimension of the weight makes;
            ``None`` if there is none.
        back: (output, weight) to input, the transposed map, where it is known.
    """

    run: LinearMap
    operation: LinearMap
    values: Tensor
    weight: Tensor
    bias: Tensor | None = None
    channels: int | None = None
    back: LinearMap | None = None


def weighted_call(call: OperationCall) -> WeightedCall | None:
    """Read a call as that of a linear map; ``None`` if it is none or its weights are not fixed."""
    read = _READERS.get(call.operation)
    found = None if read is None else read(call)
    return None if found is None or depends_on_image(found.weight) else found


def _linear(call: OperationCall) -> WeightedCall:
    values, weight, bias = linear_arguments(*call.args, **call.kwargs)

    def by_rows(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        # One product: torch would multiply token by token where the tokens are transposed.
        rows = values.reshape(-1, values.shape[-1])
        output: Tensor = call.function(rows, weight, bias)
        return output.reshape(*values.shape[:-1], -1)

    def back(outputs: Tensor, weight: Tensor) -> Tensor:
        rows = outputs.reshape(-1, outputs.shape[-1]) @ weight
        return rows.reshape(*outputs.shape[:-1], -1)

    return WeightedCall(lambda z, w: by_rows(z, w, bias), by_rows, values, weight, bias, -1, back)


def _convolution(call: OperationCall) -> WeightedCall:
    values, weight, bias, settings = convolution_arguments(*call.args, **call.kwargs)
    return WeightedCall(
        lambda z, w: call.function(z, w, bias, *settings),
        lambda z, w: call.function(z, w, None, *settings),
        values,
        weight,
        None if bias is None else bias.reshape(-1, *[1] * (weight.ndim - 2)),
        1,
    )


def _constant_product(call: OperationCall) -> WeightedCall:
    left, right = two_operands(*call.args, **call.kwargs)
    if not depends_on_image(right):
        return WeightedCall(torch.matmul, torch.matmul, left, right)

    def from_left(values: Tensor, weight: Tensor) -> Tensor:
        return torch.matmul(weight, values)

    return WeightedCall(from_left, from_left, right, left)


_READERS: dict[str, Callable[[OperationCall], WeightedCall]] = {
    "linear": _linear,
    "convolution": _convolution,
    CONSTANT_PRODUCT: _constant_product,
}
