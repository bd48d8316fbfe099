"""The arguments of the torch functions that relevance rules replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def out_of_place(
    function: Callable[..., Any], settings: Any, kwargs: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    """An operation on one tensor, made so that it never overwrites the tensor."""
    overwrites = getattr(function, "__name__", "").rstrip("_") != getattr(function, "__name__", "")
    overwrites = overwrites or bool(kwargs.get("inplace")) or any(s is True for s in settings)

    def run(tensor: Tensor) -> Tensor:
        result: Tensor = function(tensor.clone() if overwrites else tensor, *settings, **kwargs)
        return result

    return run


def computed_anew(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What a function returns; one that works in place, such as ``relu_``, works on a copy."""
    if not args or not isinstance(args[0], Tensor):
        return function(*args, **kwargs)
    values, *settings = args
    return out_of_place(function, settings, kwargs)(values)


def linear_arguments(
    input: Tensor,  # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments of ``torch.nn.functional.linear``."""
    return input, weight, bias


def convolution_arguments(
    input: Tensor,  # torch's name
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, tuple[Any, ...]]:
    """The arguments of ``torch.conv2d``: input, weight, bias and the settings after them."""
    return input, weight, bias, (stride, padding, dilation, groups)


def two_operands(
    left: Any,
    other: Any = None,  # torch's name
    *,
    mat2: Any = None,  # bmm's name
    rounding_mode: None = None,
    out: None = None,
) -> tuple[Any, Any]:
    """The operands of ``* /`` and of matrix products."""
    del rounding_mode, out
    return left, mat2 if other is None else other


def two_summands(
    left: Any,
    *rest: Any,
    other: Any = None,  # torch's name
    alpha: Any = 1,
    out: None = None,
) -> tuple[Any, Any, Any]:
    """The operands of ``+ -`` and the factor of the second, which torch takes between them too."""
    del out
    *factor, right = rest or (other,)
    return left, right, factor[0] if factor else alpha


_NAMES_OF_THE_FIRST = ("input", "x", "x1", "a")
_NAMES_OF_THE_SECOND = {"x2": "other"}
"""torch's names, and those that it takes for NumPy's sake."""


def first_by_place(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call of a torch function, its first argument without a name: ``mean(input=z, dim=1)``.

    Example:
        >>> first_by_place((), {"input": 3, "dim": 1})
        ((3,), {'dim': 1})
    """
    kwargs = {_NAMES_OF_THE_SECOND.get(name, name): value for name, value in kwargs.items()}
    named = [name for name in _NAMES_OF_THE_FIRST if name in kwargs]
    if args or not named:
        return args, kwargs
    return (kwargs.pop(named[0]),), kwargs


def batch_norm_scale(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    fixed: bool = False,
) -> tuple[Tensor | None, Tensor | None]:
    """What batch norm multiplies channels by and adds to them: (C,) and (C,).

    Without running statistics it depends on the batch: then the factor is the weight alone, and
    nothing is added; with ``fixed`` both are ``None``, as they are where there is no weight.
    """
    # torch's own order is another one than that of torch.nn.functional.
    places = _BATCH_NORM_OF_TORCH if function is torch.batch_norm else _BATCH_NORM
    given = {name: args[place] for name, place in places.items() if len(args) > place} | kwargs
    mean, variance = given.get("running_mean"), given.get("running_var")
    weight, bias = given.get("weight"), given.get("bias")
    if mean is None or variance is None or given.get("training"):
        return (None, None) if fixed else (weight, None)
    deviation = (variance + given.get("eps", 1e-5)).sqrt()
    factor = 1 / deviation if weight is None else weight / deviation
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


_BATCH_NORM = {
    name: place
    for place, name in enumerate(
        ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    )
}
_BATCH_NORM_OF_TORCH = {
    name: place
    for place, name in enumerate(
        ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
    )
}
