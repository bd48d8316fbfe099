"""Functions that are taken apart into sums, products and powers, which have relevance rules.

A product of two tensors written with ``torch.einsum`` is the same product as one written with
``@``, and must be read in the same way: by relevance rules, and by whatever looks for attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_NORM = "ttame: norm"


def einsum_in_parts(equation: Any, *operands: Any) -> Any:
    """``torch.einsum`` as sums, products and matrix products of two factors each, left to right.

    Args:
        equation: with letters; the form with lists of numbers is left to torch.
        *operands: tensors, or one list of them.

    Returns:
        What einsum returns, up to rounding; ``NotImplemented`` for diagonals and for dimensions of
        size 1 that are broadcast.
    """
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    parsed = _parsed(equation, operands) if isinstance(equation, str) else None
    if parsed is None:
        return NotImplemented
    terms, result = parsed
    values, letters = operands[0], terms[0]
    for number, (other, others) in enumerate(zip(operands[1:], terms[1:], strict=True), start=2):
        wanted = {*result, *"".join(terms[number:])}
        values, letters = _product((values, letters), (other, others), wanted)
    values, letters = _summed(values, letters, set(result))
    if letters == result:
        return values
    return values.permute([letters.index(letter) for letter in result])


def _parsed(equation: str, operands: tuple[Any, ...]) -> tuple[list[str], str] | None:
    """The letters of each operand and of the result, "..." written out; ``None`` if unusual."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands) or not all(isinstance(each, Tensor) for each in operands):
        return None
    unnamed = [
        each.ndim - len(term.replace("...", "")) if "..." in term else 0
        for term, each in zip(terms, operands, strict=True)
    ]
    # Characters that no equation uses stand for the dimensions without letters.
    dots = [chr(0x100 + place) for place in range(max(unnamed))]
    terms = [
        term.replace("...", "".join(dots[len(dots) - count :]))
        for term, count in zip(terms, unnamed, strict=True)
    ]
    if arrow:
        result = result.replace("...", "".join(dots))
    else:
        everything = "".join(terms)
        result = "".join(dots) + "".join(
            letter for letter in sorted({*everything} - {*dots}) if everything.count(letter) == 1
        )
    sizes: dict[str, int] = {}
    for term, each in zip(terms, operands, strict=True):
        if len({*term}) < len(term) or len(term) != each.ndim:
            return None
        if any(sizes.setdefault(name, n) != n for name, n in zip(term, each.shape, strict=True)):
            return None
    return (terms, result) if {*result} <= {*sizes} else None


def _product(
    left: tuple[Tensor, str], right: tuple[Tensor, str], wanted: set[str]
) -> tuple[Tensor, str]:
    """Two factors multiplied, and summed over what nobody wants any more."""
    a, of_a = _summed(*left, wanted | {*right[1]})
    b, of_b = _summed(*right, wanted | {*left[1]})
    batch = [letter for letter in of_a if letter in of_b and letter in wanted]
    inner = [letter for letter in of_a if letter in of_b and letter not in wanted]
    rows = [letter for letter in of_a if letter not in of_b]
    columns = [letter for letter in of_b if letter not in of_a]
    if not inner and not (rows and columns):
        # Place by place: no sum, and at most one of them has dimensions of its own.
        letters = "".join(batch + rows + columns)
        return _broadcast(a, of_a, letters) * _broadcast(b, of_b, letters), letters
    sizes = dict(zip(of_a + of_b, (*a.shape, *b.shape), strict=True))
    shape = [sizes[letter] for letter in batch]
    many, summed, others = (_size(sizes, each) for each in (rows, inner, columns))
    left_matrix = _laid_out(a, of_a, batch + rows + inner, [*shape, many, summed])
    right_matrix = _laid_out(b, of_b, batch + inner + columns, [*shape, summed, others])
    product = torch.matmul(left_matrix, right_matrix)
    left_over = batch + rows + columns
    return _reshaped(product, [sizes[letter] for letter in left_over]), "".join(left_over)


def _size(sizes: dict[str, int], letters: list[str]) -> int:
    """The size of one dimension made of several; 1 for none."""
    return math.prod(sizes[letter] for letter in letters)


def _laid_out(values: Tensor, letters: str, wanted: list[str], shape: list[int]) -> Tensor:
    """The very same tensor where it lies as is wanted: who looks for it, knows it again."""
    if letters != "".join(wanted):
        values = values.permute([letters.index(each) for each in wanted])
    return _reshaped(values, shape)


def _reshaped(values: Tensor, shape: list[int]) -> Tensor:
    return values if list(values.shape) == shape else values.reshape(shape)


def _summed(values: Tensor, letters: str, wanted: set[str]) -> tuple[Tensor, str]:
    unwanted = [place for place, letter in enumerate(letters) if letter not in wanted]
    if not unwanted:
        return values, letters
    return values.sum(dim=unwanted), "".join(each for each in letters if each in wanted)


def _broadcast(values: Tensor, letters: str, into: str) -> Tensor:
    present = [letter for letter in into if letter in letters]
    ordered = values.permute([letters.index(letter) for letter in present])
    for place, letter in enumerate(into):
        if letter not in letters:
            ordered = ordered.unsqueeze(place)
    return ordered


def _batch_product_and_sum(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """``torch.baddbmm``: ``β·input + α·batch1 @ batch2``, without the first where β is 0."""
    product = torch.matmul(batch1, batch2)
    return _sum_with(input, product if alpha == 1 else product * alpha, beta)


def _product_and_sum(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """``torch.addmm``: a linear layer where the second matrix is its weight."""
    if input.ndim == 1 and beta == alpha == 1 and not mat2.requires_grad:
        return F.linear(mat1, mat2.t(), input)
    return _batch_product_and_sum(input, mat1, mat2, beta=beta, alpha=alpha)


def _sum_with(input: Tensor, product: Tensor, beta: Any) -> Tensor:
    if beta == 0:
        return product
    return torch.add(product, input if beta == 1 else input * beta)


def _negative(input: Tensor) -> Tensor:
    return input * -1


def _norm(
    input: Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    """The square root of the sum of squares, which shares relevance by them: ``x²/Σx²``."""
    if p not in (2, "fro", None) or dtype is not None:
        return NotImplemented
    narrow = input.dtype in (torch.float16, torch.bfloat16)
    squares = (input.float() if narrow else input).square()
    dim = tuple(range(input.ndim)) if dim is None else dim
    norm = squares.sum(dim=dim, keepdim=keepdim).sqrt()
    norm = norm.to(input.dtype) if narrow else norm
    node: Any = norm.grad_fn
    if node is not None:
        node.metadata[_NORM] = True
    return norm


def _vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    return _norm(x, ord, dim, keepdim, dtype)


def _linalg_norm(
    A: Tensor,  # noqa: N803 - torch's name
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Any:
    if ord is not None and not isinstance(dim, int):
        return NotImplemented  # the norm of a matrix
    return _norm(A, ord, dim, keepdim, dtype)


def is_norm(tensor: Tensor) -> bool:
    """Whether a tensor is a norm that was taken apart, also clamped or with a number added."""
    node: Any = tensor.grad_fn
    for _ in range(4):
        if node is None or _NORM in node.metadata:
            return node is not None
        before = [each for each, _ in node.next_functions if each is not None]
        if len(before) != 1:
            return False
        node = before[0]
    return False


PARTS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.einsum: einsum_in_parts,
    torch.functional.einsum: einsum_in_parts,
    torch.baddbmm: _batch_product_and_sum,
    torch.Tensor.baddbmm: _batch_product_and_sum,
    torch.addmm: _product_and_sum,
    torch.Tensor.addmm: _product_and_sum,
}
"""Products to a function of the same arguments; ``NotImplemented`` leaves the call to torch."""

PARTS_FOR_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.neg: _negative,
    torch.negative: _negative,
    torch.Tensor.neg: _negative,
    torch.Tensor.negative: _negative,
    torch.Tensor.__neg__: _negative,
    torch.norm: _norm,
    torch.functional.norm: _norm,
    torch.Tensor.norm: _norm,
    torch.linalg.vector_norm: _vector_norm,
    torch.linalg.norm: _linalg_norm,
}
"""The same for what only relevance rules need to see in parts."""
