"""The memory layout changes; numbers, hooks and other callers do not."""

from __future__ import annotations

import torch
from torch import nn

from ttame.networks.fast_attention import one_product_attention


def test_outputs_and_gradients_stay_and_the_layout_becomes_sequence_first() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval().requires_grad_(False)
    network = nn.ModuleList([attention])
    tokens = torch.randn(3, 5, 8, requires_grad=True)
    seen: list[bool] = []
    attention.register_forward_hook(
        lambda _module, args, _output: seen.append(args[0].transpose(0, 1).is_contiguous())
    )

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        output, _ = attention(tokens, tokens, tokens, need_weights=False)
        (gradient,) = torch.autograd.grad(output.square().sum(), tokens)
        return output, gradient

    plain = run()
    hooks = len(attention._forward_pre_hooks)
    with one_product_attention(network):
        fast = run()
    assert seen == [False, True]
    assert len(attention._forward_pre_hooks) == hooks
    for first, second in zip(plain, fast, strict=True):
        torch.testing.assert_close(first, second)


def test_attention_between_two_sequences_is_left_alone() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    queries, keys = torch.randn(1, 2, 8), torch.randn(1, 4, 8)
    expected, _ = attention(queries, keys, keys)
    with one_product_attention(attention):
        found, _ = attention(queries, keys, keys)
    torch.testing.assert_close(found, expected)
