"""A rule applied to single operations, and linear layers by loops over numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.conftest import assert_close
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable

CLOSE = 1e-6
"""Between rules with a stabiliser of 1e-9 and loops without one."""


def relevances(
    rules: RuleTable,
    operation: Callable[..., Tensor],
    relevance: Tensor | None,
    *inputs: Tensor,
    images: int = 1,
) -> list[Tensor]:
    """Relevances (or modified gradients) of inputs, from that of the output or from ones."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    with propagating(rules, "relevance", "this network", images=images):
        output = operation(*leaves)
    assert_close(output, operation(*inputs), 1e-9 if output.dtype == torch.float64 else 1e-5)
    start = torch.ones_like(output) if relevance is None else relevance
    return list(torch.autograd.grad(output, leaves, start))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def linear_by_loops(relevance: Tensor, values: Tensor, weight: Tensor, kind: str) -> Tensor:
    result = torch.zeros_like(values)
    for row in range(len(values)):
        for j in range(len(weight)):
            products = [float(z) * float(w) for z, w in zip(values[row], weight[j], strict=True)]
            of_positive = [
                max(float(z), 0) * max(float(w), 0)
                for z, w in zip(values[row], weight[j], strict=True)
            ]
            of_negative = [
                min(float(z), 0) * min(float(w), 0)
                for z, w in zip(values[row], weight[j], strict=True)
            ]
            given = float(relevance[row, j])
            for i, product in enumerate(products):
                both = sum(of_positive) + sum(of_negative)
                if kind == "absolute":
                    share = abs(product) / sum(map(abs, products))
                elif kind == "joint":
                    share = (of_positive[i] + of_negative[i]) / both if both else 0
                else:
                    share = of_positive[i] / sum(of_positive) if sum(of_positive) else 0
                    share += of_negative[i] / sum(of_negative) if sum(of_negative) else 0
                result[row, i] += given * share
    return result
