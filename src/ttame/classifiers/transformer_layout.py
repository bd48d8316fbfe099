"""What attention methods need to know about a Vision Transformer, from dry runs of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import TapError
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer, token_blocks
from ttame.features.token_order import refuse_other_orders
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import (
    first_tensor,
    put_first_tensor,
    uncompiled,
    watching,
)
from ttame.networks.network_trace import LayerRecord

Pooling = Literal["class token", "prefix tokens", "patch tokens", "all tokens"]


@dataclasses.dataclass(frozen=True)
class TransformerLayout:
    """The repeated blocks of a Vision Transformer, and how their tokens stand.

    Attributes:
        blocks: dotted names of the blocks, from the first to the last.
        first_norms: for each block, the name of the normalisation before its attention, or
            ``None`` where no normalisation comes first.
        tokens: how a block's (B, T, D) output becomes a map: grid and number of prefix tokens.
        read_rows: which of the T tokens of the last block the classifier's head reads; found by
            differentiating the logits.
        shares: (B, T) of each token in what the head reads, where texts of a batch have tokens of
            their own; ``None`` for equal shares of ``read_rows``.
    """

    blocks: tuple[str, ...]
    first_norms: tuple[str | None, ...]
    tokens: LayerOutput
    read_rows: tuple[int, ...]
    shares: Tensor | None = None

    @property
    def is_row(self) -> bool:
        """Whether the tokens stand in a row, each a place of the input, as those of a text do."""
        return self.tokens.image_size[0] == 1

    @property
    def number_of_tokens(self) -> int:
        """T: prefix tokens and patches."""
        return self.tokens.prefix_tokens + self.tokens.grid[0] * self.tokens.grid[1]

    def at(self, image_size: tuple[int, int], number_of_tokens: int) -> TransformerLayout:
        """The layout for images of another size, for networks that take them.

        Args:
            image_size: (H, W) in pixels.
            number_of_tokens: T at that size.

        Raises:
            TapError: the patches do not fill a grid of the image's aspect ratio.
        """
        if number_of_tokens == self.number_of_tokens and image_size == self.tokens.image_size:
            return self
        prefix = self.tokens.prefix_tokens
        grid = self.tokens.grid_at(image_size, number_of_tokens - prefix)
        if self.is_row:
            tokens = dataclasses.replace(self.tokens, grid=grid, image_size=image_size)
            rows = [0] if self.read_rows == (0,) else list(range(number_of_tokens))
            return dataclasses.replace(self, tokens=tokens, read_rows=tuple(rows))
        rows = [row for row in self.read_rows if row < prefix]
        if len(rows) < len(self.read_rows):
            rows += range(prefix, number_of_tokens)
        tokens = dataclasses.replace(self.tokens, grid=grid, image_size=image_size)
        return dataclasses.replace(self, tokens=tokens, read_rows=tuple(rows))

    def reading(self, present: Tensor) -> TransformerLayout:
        """The layout for a batch of texts, whose padding the head does not read.

        Args:
            present: (B, T) bool, the tokens that are not padding.
        """
        if self.read_rows == (0,):
            return self
        shares = present.float() / present.sum(dim=1, keepdim=True)
        return dataclasses.replace(self, shares=shares)

    @property
    def pooling(self) -> Pooling:
        """Which tokens the head reads, in words."""
        prefix = self.tokens.prefix_tokens
        if self.is_row:
            return "class token" if self.read_rows == (0,) else "all tokens"
        if self.read_rows == (0,) and prefix:
            return "class token"
        if all(row < prefix for row in self.read_rows):
            return "prefix tokens"
        if self.read_rows == tuple(range(prefix, self.number_of_tokens)):
            return "patch tokens"
        return "all tokens"

    @property
    def rows_for_head(self) -> int:
        """How many rows, from the first, the rest of the network needs after the last block.

        The prefix tokens where it reads nothing else, so that many variants of an image stay
        small; else all.
        """
        prefix = self.tokens.prefix_tokens
        return prefix if max(self.read_rows) < prefix else self.number_of_tokens

    def read_out(self, relevance: Tensor) -> Tensor:
        """Read a map out of a token-to-token matrix: the rows that the head reads, on average.

        With class-token pooling this is the class token's row, as the papers define it.

        Args:
            relevance: (..., T, T), row i saying how much token i draws from every token.

        Returns:
            (..., h, w), prefix tokens dropped.
        """
        return self.patch_map(self.row(relevance))

    def row(self, matrix: Tensor) -> Tensor:
        """The row that the head reads of (B, ..., T, T) matrices, on average: (B, ..., T)."""
        if self.shares is None:
            return matrix[..., list(self.read_rows), :].mean(dim=-2)
        return torch.einsum("bt,b...ts->b...s", self.shares.to(matrix), matrix)

    def start(self, like: Tensor) -> Tensor:
        """The row that the head reads of the identity, (1 or B, 1, T)."""
        if self.shares is None:
            identity = torch.eye(self.number_of_tokens).to(like)
            return identity[list(self.read_rows)].mean(dim=0).reshape(1, 1, -1)
        return self.shares.to(like)[:, None]

    def patch_map(self, values: Tensor) -> Tensor:
        """(..., T) values of tokens as (..., h, w), prefix tokens dropped."""
        return values[..., self.tokens.prefix_tokens :].reshape(
            *values.shape[:-1], *self.tokens.grid
        )


@gives_everything_back
def transformer_layout(classifier: Explainable) -> TransformerLayout | None:
    """Describe a Vision Transformer of any library; ``None`` if the network is none.

    Hierarchical transformers, whose token count changes on the way, are none in this sense.

    Raises:
        TapError: its tokens stand in an order in which they cannot be read.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> layout = transformer_layout(
        ...     tiny_classifier("vit", size=32))
        >>> layout.blocks, layout.tokens.grid, layout.tokens.prefix_tokens, layout.pooling
        (('blocks.0', 'blocks.1'), (2, 2), 1, 'class token')
    """
    found = token_blocks(classifier.trace)
    if found is None or classifier.family not in ("Vision Transformer", "text transformer"):
        return None
    network = uncompiled(classifier.network)
    tap = describe_layer(network, classifier.trace, found.blocks[-1])
    if tap is None or tap.layout != "tokens":
        return None
    if not classifier.examined:
        refuse_other_orders(network, classifier.trace, [tap])
    names = tuple(block.name for block in found.blocks)
    layout = TransformerLayout(
        blocks=names,
        first_norms=tuple(_first_norm(classifier, block) for block in found.blocks),
        tokens=tap,
        read_rows=_read_rows(classifier, tap),
    )
    every = tuple(range(layout.number_of_tokens))
    return None if layout.is_row and layout.read_rows not in ((0,), every) else layout


def _first_norm(classifier: Explainable, block: LayerRecord) -> str | None:
    inside = [
        layer
        for layer in classifier.trace.layers
        if layer.name.startswith(f"{block.name}.") and layer.is_leaf
    ]
    first = min(inside, key=lambda layer: layer.order)
    return first.name if "norm" in first.kind.lower() and first.shape == block.shape else None


def _read_rows(classifier: Explainable, last_block: LayerOutput) -> tuple[int, ...]:
    """The tokens of the last block that have a gradient of the logits."""
    block = uncompiled(classifier.network).get_submodule(last_block.layer)
    generator = torch.Generator().manual_seed(0)
    shape = classifier.blank_image().shape
    images = torch.randn(shape, generator=generator, dtype=torch.float32)

    def logits_and(
        tokens: list[Tensor], change: Callable[[Tensor], Tensor], rows: int = 1
    ) -> Tensor:
        def cut(_module: nn.Module, output: Any) -> Any:
            turned = last_block.batch_first(output)
            tensor = first_tensor(turned)
            if tensor is None:
                raise TapError(f"layer {last_block.layer} gave no tensor")
            tokens.append(change(tensor.detach()))
            return last_block.batch_first(put_first_tensor(turned, tokens[-1]))

        with watching([(block, cut)]):
            return classifier.logits(images, rows=rows)

    tokens: list[Tensor] = []
    with torch.enable_grad():
        logits = logits_and(tokens, lambda tensor: tensor.clone().requires_grad_())
        # Not their sum: the gradients of all classes together may cancel.
        score = (
            logits * torch.randn(logits.shape, generator=generator, dtype=torch.float32).to(logits)
        ).sum()
        (gradient,) = torch.autograd.grad(score, tokens[0])
    read = gradient[0].abs().sum(dim=1).nonzero().flatten().tolist()
    if not read:
        # A head that starts at zero has no gradient yet, but zero times NaN is NaN.
        def spoil_one_each(tensor: Tensor) -> Tensor:
            count = tensor.shape[1]
            spoilt = tensor.repeat(count, 1, 1)
            spoilt[torch.arange(count), torch.arange(count)] = torch.nan
            return spoilt

        with torch.no_grad():
            logits = logits_and([], spoil_one_each, rows=gradient.shape[1])
        read = logits.isnan().any(dim=1).nonzero().flatten().tolist()
    return tuple(read)


def replace_first_tensor(
    args: tuple[Any, ...], kwargs: dict[str, Any], tokens: Tensor
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a block with its tokens exchanged: the first tensor among them.

    Raises:
        TapError: there is no tensor among them.
    """
    for index, value in enumerate(args):
        if isinstance(value, Tensor):
            return (*args[:index], tokens, *args[index + 1 :]), kwargs
    for name, value in kwargs.items():
        if isinstance(value, Tensor):
            return args, {**kwargs, name: tokens}
    raise TapError("a block that is called without tokens")
