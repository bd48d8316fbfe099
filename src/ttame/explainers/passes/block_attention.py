"""The attention of every block of a Vision Transformer, and how scores change with it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.transformer_layout import TransformerLayout, transformer_layout
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import differentiating, require_graph
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.features.layer_layouts import token_blocks
from ttame.networks.attention_reading import AttentionAction, watching_attention
from ttame.networks.layer_outputs import reading, uncompiled

_NO_LAYOUT = {
    "CNN": "it has no self-attention",
    "token mixer": "its blocks mix tokens without self-attention",
    "hierarchical transformer": "its blocks do not attend from every token to every token",
    "text transformer": "its blocks are not a sequence of layers with (B, T, D) tokens, or its "
    "head reads neither the first token nor all of them",
    "Vision Transformer": "its blocks are not a sequence of layers with (B, T, D) tokens",
}


@dataclasses.dataclass(frozen=True)
class BlockAttention:
    """What one forward pass showed.

    Attributes:
        logits: (B, C).
        probabilities: for each block read, (B, heads, T, T) as the network used them.
    """

    logits: Tensor
    probabilities: tuple[Tensor, ...]


def attending_layout(
    classifier: Explainable, method: str, *, tokens_may_come_first: bool = False
) -> TransformerLayout:
    """The layout of a transformer whose every block attends once from all tokens to all tokens.

    Args:
        classifier: the classifier of the network.
        method: for messages.
        tokens_may_come_first: for methods that read attention only, which is the same also where
            blocks get (T, B, D) tokens.

    Raises:
        ExplainerError: the network is not such a transformer.
    """
    layout = require_layout(classifier, method, tokens_may_come_first=tokens_may_come_first)
    times: Counter[int] = Counter()

    def count(block: int, _probabilities: Tensor) -> None:
        times[block] += 1

    with torch.no_grad(), _attention(classifier, layout, count):
        classifier.logits(classifier.blank_image())
    odd = [name for index, name in enumerate(layout.blocks) if times[index] != 1]
    if odd:
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}: {odd[0]} and {len(odd) - 1} other "
            "blocks do not attend exactly once from every token to every token",
            remedy=WITHOUT_ATTENTION[classifier.kind],
        )
    return layout


def _attention(
    classifier: Explainable,
    layout: TransformerLayout,
    action: AttentionAction,
    first_block: int = 0,
) -> contextlib.AbstractContextManager[None]:
    blocks = block_modules(classifier, layout)[first_block:]
    return watching_attention(blocks, action, batch_axis=layout.tokens.batch_axis)


def require_layout(
    classifier: Explainable, method: str, *, tokens_may_come_first: bool = False
) -> TransformerLayout:
    """The layout of a Vision Transformer of one resolution.

    Raises:
        ExplainerError: the network is none, or its tokens come before the batch where the method
            works on them.
    """
    found = token_blocks(classifier.trace)
    again = [block for block in (found.blocks if found else ()) if len(block.runs) > 1]
    if again:
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}, whose blocks run several times "
            f"({again[0].name} {len(again[0].runs)} times)",
            remedy=WITHOUT_ATTENTION[classifier.kind],
        )
    layout = transformer_layout(classifier)
    if layout is None:
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}, a {classifier.family}: "
            f"{_NO_LAYOUT[classifier.family]}",
            remedy=WITHOUT_ATTENTION[classifier.kind],
        )
    if layout.tokens.batch_axis and not tokens_may_come_first:
        raise ExplainerError(
            f"{method} works on (B, tokens, C), and the tokens of {classifier.name} come before "
            "the batch (batch_first=False)",
            remedy=f"attention_rollout, {WITHOUT_ATTENTION['images']}",
        )
    return layout


def layout_for(
    classifier: Explainable, layout: TransformerLayout, images: Tensor
) -> TransformerLayout:
    """The layout at the size of a batch of images; another size costs one image's forward pass."""
    size = (int(images.shape[-2]), int(images.shape[-1]))
    present = classifier.present(images) if images.ndim == 4 else None
    if present is not None and layout.is_row:
        return layout.at(size, size[1]).reading(present)
    if images.ndim != 4 or size == layout.tokens.image_size:
        return layout
    last = layout.blocks[-1]
    with torch.no_grad(), reading({last: block_modules(classifier, layout)[-1]}) as outputs:
        classifier.logits(images[:1])
    tokens = layout.tokens.tensor(layout.tokens.batch_first(outputs[last]))
    return layout.at(size, tokens.shape[1])


def block_modules(classifier: Explainable, layout: TransformerLayout) -> list[nn.Module]:
    """The modules of the blocks, from the first to the last."""
    network = uncompiled(classifier.network)
    return [network.get_submodule(name) for name in layout.blocks]


def block_number(block: int, layout: TransformerLayout, method: str, option: str = "block") -> int:
    """The number, from 0, of a block that may be counted from the end.

    Raises:
        ExplainerError: there is no such block.
    """
    count = len(layout.blocks)
    if isinstance(block, bool) or not isinstance(block, int) or not -count <= block < count:
        raise ExplainerError(
            f"{option}={block!r} for {method}",
            allowed=f"0 to {count - 1}, or -{count} to -1 counted from the last block",
        )
    return block % count


def head_mean(values: Tensor, images: int) -> Tensor:
    """(B, heads, T, T) values of attention heads, also folded to (B·heads, T, T), as (B, T, T)."""
    return values.reshape(images, -1, *values.shape[-2:]).float().mean(dim=1)


def read_head_means(
    classifier: Explainable, layout: TransformerLayout, images: Tensor, first_block: int = 0
) -> tuple[Tensor, list[Tensor]]:
    """Run the network once without a graph and average each block's attention over its heads.

    Args:
        classifier: the network to run.
        layout: from :func:`attending_layout`.
        images: (B, 3, H, W).
        first_block: earlier ones are not read.

    Returns:
        Logits (B, C), and (B, T, T) float32 for each block from the first one on.
    """
    means: list[Tensor] = []

    def keep(_block: int, probabilities: Tensor) -> None:
        means.append(head_mean(probabilities, images.shape[0]))

    with torch.no_grad(), _attention(classifier, layout, keep, first_block):
        logits = classifier.logits(images)
    return logits, means


@contextlib.contextmanager
def attention_graph(blocks: Sequence[nn.Module], *, batch_axis: int = 0) -> Iterator[list[Tensor]]:
    """Collect the attention of each block in a graph that begins with the first of them.

    The images need no gradient: what lies before the first block keeps no activations.

    Yields:
        A list that fills with (B, heads, T, T), one for each block in the order of the run.
    """
    collected: list[Tensor] = []

    def keep(_block: int, probabilities: Tensor) -> None:
        if not probabilities.requires_grad:
            probabilities.requires_grad_()
        collected.append(probabilities)

    with differentiating(), watching_attention(blocks, keep, batch_axis=batch_axis):
        yield collected


def read_block_attention(
    classifier: Explainable, layout: TransformerLayout, images: Tensor, first_block: int = 0
) -> BlockAttention:
    """Run the network once with the attention of its blocks in the graph.

    Args:
        classifier: the network to run.
        layout: from :func:`attending_layout`.
        images: (B, 3, H, W).
        first_block: earlier ones are not read, and keep no activations.
    """
    blocks = block_modules(classifier, layout)[first_block:]
    with attention_graph(blocks, batch_axis=layout.tokens.batch_axis) as probabilities:
        logits = classifier.logits(images.detach().clone())
    return BlockAttention(logits, tuple(probabilities))


def gradients_by_target(
    scores: Tensor, tensors: Sequence[Tensor], *, keep_graph: bool = False
) -> Iterator[tuple[Tensor, ...]]:
    """For each column of (B, K) scores, its gradients with respect to the tensors.

    One backward pass per column; a row of the scores may depend on its own image only.

    Args:
        scores: (B, K).
        tensors: in the graph of the scores.
        keep_graph: whether other scores will go through the graph later.

    Raises:
        ExplainerError: the scores have no graph.
    """
    require_graph(scores)
    columns = scores.sum(dim=0)
    for index, score in enumerate(columns):
        more = keep_graph or index + 1 < len(columns)
        yield torch.autograd.grad(score, tensors, retain_graph=more)


def roll_out(matrices: Sequence[Tensor], layout: TransformerLayout) -> Tensor:
    """The rows that the head reads, on average, of ``M^L ⋯ M^1``, as a map.

    Multiplied from the left, so that one row is carried instead of a matrix.

    Args:
        matrices: (B, T, T) for each block, from the first to the last.
        layout: at the images' size.

    Returns:
        (B, h, w), prefix tokens dropped.
    """
    rows = layout.row(matrices[-1])[:, None]
    for matrix in reversed(matrices[:-1]):
        rows = rows @ matrix
    return layout.patch_map(rows[:, 0])
