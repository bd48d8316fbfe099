"""What the rest of a transformer says about other tokens than those of its last block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.memory_budget import in_chunks, items_at_once
from ttame.explainers.contract.target_scores import ScoreKind, target_scores
from ttame.networks.layer_outputs import put_first_tensor, uncompiled, watching
from ttame.outputs import Outputs

COPIES_OF_A_VARIANT = 4
"""Tensors of a variant's size that the rest of a network holds at a time, cautiously."""


def read_variants(
    classifier: Classifier,
    layout: TransformerLayout,
    images: Tensor,
    make_variants: Callable[[Tensor], Tensor],
    count: int,
) -> tuple[Tensor, Tensor]:
    """Run the network once, with variants of the last block's tokens put next to the tokens.

    The blocks run on the images alone, what follows them on images and variants as one batch.

    Args:
        classifier: the network to run.
        layout: at the images' size.
        images: (B, 3, H, W).
        make_variants: given the (B, T, D) tokens after the last block, makes (B·n, rows, D)
            variants, image by image; rows is the layout's ``rows_for_head``. Called once, and may
            run blocks itself.
        count: n, the number of variants of each image.

    Returns:
        Logits of the images (B, C) and of the variants (B, n, C), in the network's dtype.
    """
    called = False

    def join(_module: nn.Module, output: Any) -> Any:
        nonlocal called
        if called:
            return None
        called = True
        tokens = layout.tokens.tensor(output)
        rows = tokens[:, : layout.rows_for_head]
        return put_first_tensor(output, torch.cat([rows, make_variants(tokens)]))

    last = uncompiled(classifier.network).get_submodule(layout.blocks[-1])
    size = len(images)
    with watching([(last, join)]):
        logits = classifier.logits(images, rows=size * (1 + count))
    return logits[:size], logits[size:].reshape(size, count, -1)


def read_variant_of_each_patch(
    classifier: Classifier,
    layout: TransformerLayout,
    images: Tensor,
    make_variants: Callable[[Tensor, slice], Tensor],
    budget: int,
) -> tuple[Tensor, Tensor]:
    """Read one variant for each of the N patches of each image, within a budget of memory.

    As many images run together as their variants fit. Where not even one image's do, its patches
    are taken in several passes, each of which runs the blocks again.

    Args:
        classifier: the network to run.
        layout: at the images' size.
        images: (B, 3, H, W).
        make_variants: as in :func:`read_variants`, for a slice of the patches.
        budget: bytes.

    Returns:
        Logits of the images (B, C) and of the variants (B, N, C), in the network's dtype.
    """
    count = layout.number_of_tokens - layout.tokens.prefix_tokens
    bytes_each = layout.rows_for_head * layout.tokens.channels * classifier.dtype.itemsize
    together = items_at_once(bytes_each * COPIES_OF_A_VARIANT, budget, most=len(images) * count)
    logits, of_variants = [], []
    for some_images in in_chunks(len(images), max(1, together // count)):
        parts = []
        for patches in in_chunks(count, min(count, together)):
            of_images, part = read_variants(
                classifier,
                layout,
                images[some_images],
                lambda tokens, patches=patches: make_variants(tokens, patches),  # type: ignore[misc]
                patches.stop - patches.start,
            )
            parts.append(part)
        logits.append(of_images)
        of_variants.append(torch.cat(parts, dim=1))
    return torch.cat(logits), torch.cat(of_variants)


def maps_of_scores(
    logits: Tensor,
    targets: ExplainedTargets,
    layout: TransformerLayout,
    score: ScoreKind,
    outputs: Outputs,
) -> Tensor:
    """Turn (B, N, C) logits of patches into (B, K, h, w) maps of K targets, in float32."""
    images, count = targets.shape
    of_patches = targets[torch.arange(images).repeat_interleave(logits.shape[1])]
    chosen = target_scores(logits.flatten(0, 1), of_patches, score, outputs)
    by_image = chosen.reshape(images, -1, count)
    return by_image.transpose(1, 2).reshape(images, count, *layout.tokens.grid)
