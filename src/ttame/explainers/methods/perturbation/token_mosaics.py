"""Running the last blocks of a transformer on tokens of which only a few are left."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ttame.classifiers.transformer_layout import (
    TransformerLayout,
    replace_first_tensor,
)
from ttame.explainers.methods.activation.recipro_cam import place_masks
from ttame.explainers.passes.widening import as_float32
from ttame.networks.function_replacement import replacing_functions
from ttame.networks.layer_outputs import (
    InputAction,
    first_tensor,
    hooks_at_rest,
    put_first_tensor,
    watching,
    watching_inputs,
)

Kernel = Literal["gaussian", "single"]


@dataclasses.dataclass(frozen=True)
class MosaicRules:
    """What a mosaic of one patch keeps.

    Attributes:
        kernel: ``"single"``, the patch alone; ``"gaussian"``, its 3×3 neighbours too, each with
            its own features times [1 2 1; 2 4 2; 1 2 1]/16, cut off at the border.
        masked_residual: whether the residual stream is masked like the normalised tokens.
        zeroed_prefix: whether class token and registers are masked too.
    """

    kernel: Kernel
    masked_residual: bool
    zeroed_prefix: bool

    @property
    def patches_left(self) -> int:
        """How many patches a mosaic keeps at most."""
        return 9 if self.kernel == "gaussian" else 1

    def token_masks(self, patches: slice, layout: TransformerLayout) -> Tensor:
        """For each of some patches the factor of every token, (n, T) float32 in [0, 1]."""
        places = torch.arange(patches.start, patches.stop)
        on_grid = place_masks(places, layout.tokens.grid, gaussian=self.kernel == "gaussian")
        prefix = torch.full(
            (len(places), layout.tokens.prefix_tokens),
            0.0 if self.zeroed_prefix else 1.0,
            dtype=torch.float32,
        )
        return torch.cat([prefix, on_grid.flatten(1)], dim=1)


@dataclasses.dataclass(frozen=True)
class Tail:
    """The last blocks, and what they were given when the images went through.

    Attributes:
        blocks: modules, the masked one first.
        norm: the normalisation that the masked block begins with.
        calls: args and kwargs of each block.
        normalised: (B, T, D), what the normalisation gave.
        layout: at the images' size.
    """

    blocks: Sequence[nn.Module]
    norm: nn.Module
    calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    normalised: Any
    layout: TransformerLayout

    def run(self, tokens: Tensor, normalised: Tensor) -> Tensor:
        """Run the blocks on other tokens, (n, S, D), with other normalised ones next to them."""

        def exchange(_norm: nn.Module, output: Any) -> Any:
            return put_first_tensor(output, normalised)

        for index, (block, call) in enumerate(zip(self.blocks, self.calls, strict=True)):
            replaced = replace_first_tensor(*call, tokens)
            with watching([(self.norm, exchange)] if index == 0 else []):
                output = first_tensor(block(*replaced[0], **replaced[1]))
            assert output is not None
            tokens = output
        return tokens

    def tokens_of(self, image: int) -> tuple[Tensor, Tensor]:
        """The block's input and its normalised form for one image, each (T, D)."""
        tokens = first_tensor(self.calls[0])
        normalised = first_tensor(self.normalised)
        assert tokens is not None
        assert normalised is not None
        return tokens[image], normalised[image]

    def in_float32(self) -> Tail:
        """A copy with float32 weights and tokens, for comparisons finer than half precision."""
        with hooks_at_rest():
            blocks, norm = copy.deepcopy((list(self.blocks), self.norm))
        for block in blocks:
            block.float()
        return dataclasses.replace(self.with_float32_tokens(), blocks=blocks, norm=norm)

    def with_float32_tokens(self) -> Tail:
        """The same blocks, and their tokens in float32."""
        calls, normalised = as_float32(self.calls), as_float32(self.normalised)
        return dataclasses.replace(self, calls=calls, normalised=normalised)


class TailRecorder:
    """Notes what the last blocks are given while the images go through.

    Args:
        blocks: modules, the masked one first.
        norm: the normalisation that the masked block begins with.
        layout: at the images' size.
    """

    def __init__(self, blocks: Sequence[nn.Module], norm: nn.Module, layout: TransformerLayout):
        self.blocks = blocks
        self.norm = norm
        self.layout = layout
        self.calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.normalised: Any = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record the runs of this block's time in this thread."""

        def noting(index: int) -> InputAction:
            def note(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                self.calls[index] = (args, kwargs)

            return note

        def keep(_norm: nn.Module, output: Any) -> None:
            self.normalised = output

        inputs = [(block, noting(index)) for index, block in enumerate(self.blocks)]
        with watching_inputs(inputs), watching([(self.norm, keep)]):
            yield

    def tail(self) -> Tail:
        """What was recorded last. Running it is recorded too, but leaves the tail as it is."""
        calls = [self.calls[index] for index in range(len(self.blocks))]
        return Tail(self.blocks, self.norm, calls, self.normalised, self.layout)


RunMosaics = Callable[[Tail, int, Tensor, MosaicRules], Tensor]
"""Given the tail, an image's number and (n, T) masks, the rows for the head, (n, rows, D)."""


def run_whole_mosaics(tail: Tail, image: int, masks: Tensor, rules: MosaicRules) -> Tensor:
    """Run the tail on all tokens of every mosaic."""
    tokens, normalised = tail.tokens_of(image)
    factors = masks.to(normalised)[:, :, None]
    stream = tokens * factors if rules.masked_residual else tokens.expand(len(masks), -1, -1)
    return tail.run(stream, normalised * factors)[:, : tail.layout.rows_for_head]


def run_short_mosaics(tail: Tail, image: int, masks: Tensor, rules: MosaicRules) -> Tensor:
    """Run the last block on the tokens that are left, with one zero token for all the others.

    All zeroed tokens have the same key and value, so that m of them count as one whose score is
    raised by log m; and their own rows are not read. Exact where the head reads prefix tokens only
    and a token's key and value do not depend on its place inside the block.
    """
    tokens, normalised = tail.tokens_of(image)
    prefix = tail.layout.tokens.prefix_tokens
    left = min(rules.patches_left, masks.shape[1] - prefix)
    factors, places = masks[:, prefix:].topk(left, dim=1)
    there = factors > 0
    zeroed = masks.shape[1] - prefix - there.sum(dim=1, keepdim=True)
    counts = torch.cat(
        [torch.ones(len(masks), prefix, device=masks.device, dtype=torch.float32), there, zeroed],
        dim=1,
    )

    kept_prefix = normalised[:prefix] * masks[:, :prefix, None].to(normalised)
    patches = normalised[prefix:][places] * factors[:, :, None].to(normalised)
    zero = normalised.new_zeros(len(masks), 1, normalised.shape[1])
    short = torch.cat([kept_prefix, patches, zero], dim=1)
    # Only the rows of the prefix tokens are read, so that the others' residual may be anything.
    stream = torch.zeros_like(short)
    stream[:, :prefix] = tokens[:prefix]
    if rules.masked_residual:
        stream[:, :prefix] *= masks[:, :prefix, None].to(stream)
    with _counting_keys(counts):
        return tail.run(stream, short)[:, :prefix]


def _counting_keys(counts: Tensor) -> contextlib.AbstractContextManager[None]:
    """Let key j of row i of the batch count ``counts[i, j]`` times in every softmax over keys."""
    raised = counts.log()[:, None, None, :]

    def count(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and args[0].ndim == 4 and args[0].shape[-1] == raised.shape[-1]:
            args = (args[0] + raised.to(args[0].dtype), *args[1:])
        return function(*args, **kwargs)

    return replacing_functions({"softmax": count})
