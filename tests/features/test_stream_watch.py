"""What is seen of blocks at work: attention's parts give the branch, and streams that end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ttame.features.stream_watch import AttentionParts, StreamWatch

WIDTH, HEADS, TOKENS = 8, 2, 5


class Seen(StreamWatch):
    """Keeps what attention is said to be made of, and what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, AttentionParts]] = []

    def attended(
        self,
        stream: Tensor,
        branch: Tensor,
        total: Callable[[], Tensor],
        attention: AttentionParts,
    ) -> Tensor:
        self.found.append((branch, attention))
        return super().attended(stream, branch, total, attention)


class Block(nn.Module):
    """Pre-norm attention with a residual, or without one."""

    def __init__(self, *, residual: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.into = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.residual = residual

    def forward(self, tokens: Tensor) -> Tensor:
        shape = (len(tokens), TOKENS, 3, HEADS, WIDTH // HEADS)
        query, key, value = self.into(self.norm(tokens)).reshape(shape).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2)).softmax(-1)
        given = self.out((weights @ value).transpose(1, 2).reshape(len(tokens), TOKENS, WIDTH))
        return tokens + given if self.residual else given


def watched(*blocks: Block) -> Seen:
    torch.manual_seed(0)
    tokens, seen = torch.randn(3, TOKENS, WIDTH), Seen()
    network = nn.Sequential(*blocks)
    plain = network(tokens)
    with torch.no_grad(), seen.watching(blocks):
        assert torch.equal(network(tokens), plain)
    return seen


def test_the_parts_of_every_block_give_what_its_attention_added() -> None:
    seen = watched(Block(), Block())
    assert len(seen.found) == 2 and not seen.is_lost
    for branch, parts in seen.found:
        heads = torch.einsum("bhts,bhsd->bthd", parts.probabilities, parts.values).flatten(2)
        assert parts.bias is not None
        assert torch.allclose(heads @ parts.weight.T + parts.bias, branch, atol=1e-6)


def test_a_block_that_does_not_add_to_the_stream_loses_it() -> None:
    assert watched(Block(), Block(residual=False)).is_lost
