"""The arguments of the torch functions that relevance rules replace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def two_operands(left: Any, right: Any = None, **kwargs: Any) -> tuple[Any, Any]:
    """The operands of ``+ - * /``, whatever the keyword is called; ``alpha`` scales the second."""
    for name, value in kwargs.items():
        if name in ("other", "mat2"):
            right = value
        elif name == "alpha":
            right = right * value
        else:
            raise TypeError(f"unexpected argument {name}")
    return left, right
