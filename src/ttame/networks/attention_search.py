"""Whether a network attends, seen in what it computes and not in what its classes are called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ttame.networks.function_replacement import replacing_functions


class AttentionSearch:
    """Looks for ``softmax(QKᵀ) V`` among the operations of one pass.

    A softmax counts over scores of several queries and keys that a matrix product made, if its
    rows weight the values of a matrix product afterwards. Gates, which multiply place by place,
    pooling by one query, and softmaxes over classes do not.

    Attributes:
        found: whether there was one.

    Example:
        >>> import torch
        >>> query, search = torch.zeros(1, 2, 5, 4), AttentionSearch()
        >>> with search.watching():
        ...     _ = torch.nn.functional.scaled_dot_product_attention(query, query, query)
        >>> search.found
        True
    """

    def __init__(self) -> None:
        self.found = False
        self._scores: set[tuple[int, int]] = set()
        self._weights: set[tuple[int, int]] = set()

    def watching(self) -> contextlib.AbstractContextManager[None]:
        """Look while the block runs, in this thread."""
        return replacing_functions({"matrix product": self._product, "softmax": self._softmax})

    def _product(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        for factor in (*args, *kwargs.values()):
            if self._weights and not self.found and isinstance(factor, Tensor):
                rows, columns = _last_two(factor)
                self.found = bool(self._weights & {(rows, columns), (columns, rows)})
        product = function(*args, **kwargs)
        self._scores.add(_last_two(product))
        return product

    def _softmax(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        probabilities = function(*args, **kwargs)
        shape = _last_two(probabilities)
        if min(shape) >= 2 and probabilities.ndim >= 3 and shape in self._scores:
            self._weights.add(shape)
        return probabilities


def _last_two(tensor: Tensor) -> tuple[int, int]:
    return (int(tensor.shape[-2]), int(tensor.shape[-1])) if tensor.ndim >= 2 else (0, 0)
