"""LeGrad: Bousselham et al., arXiv 2404.03214."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.option_checks import check_choice, check_count
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.passes.block_attention import (
    attending_layout,
    attention_graph,
    block_modules,
    gradients_by_target,
    head_mean,
    layout_for,
)
from ttame.explainers.passes.token_variants import read_variants
from ttame.networks.layer_outputs import put_first_tensor, watching

TokenPooling = Literal["all tokens", "classifier"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LeGrad(Explainer):
    """How a class score grows with each block's attention: ``S = Σ_b E_h mean_i (∂s_b/∂A^b_i)⁺``.

    The sum runs over the last blocks; ``A^b_i`` is row i of the attention probabilities of block
    b, ``E_h`` the mean over heads, ``mean_i`` that over all T queries, ``(·)⁺`` keeps what is
    positive; attention is not a factor. ``s_b`` is the class score of the block's *own* output
    tokens: pooled, through the network's final normalisation and classifier. Its gradient goes
    through block b alone, so the backward passes are short. Columns of prefix tokens are dropped.
    Maps are not negative.

    The paper pools by the mean over all T tokens, the class token among them, also for networks
    whose head reads the class token only; ``pooling="classifier"`` lets the head read the block's
    tokens as it reads the last block's.

    Args:
        classifier: a Vision Transformer whose blocks attend from every token to every token.
        blocks: how many blocks, the last one among them; two in the paper.
        pooling: ``"all tokens"`` as in the paper and its code, or ``"classifier"``.

    Raises:
        ExplainerError: the network has no such blocks, or not so many.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> legrad = LeGrad(tiny_classifier("vit", size=32))
        >>> legrad(torch.zeros(3, 3, 32, 32), "top2").maps.shape
        torch.Size([3, 2, 2, 2])
    """

    card = MethodCard(
        name="legrad",
        title="LeGrad",
        family="attention",
        networks="Vision Transformers of one resolution",
        cost="1 forward, 1 backward of the last blocks per class",
        paper="Bousselham et al., arXiv 2404.03214",
        targets=LINEAR_TARGETS,
    )

    blocks: int = 2
    pooling: TokenPooling = "all tokens"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "pooling", self.pooling, get_args(TokenPooling))
        check_count(self.method, "blocks", self.blocks)
        layout = attending_layout(self.classifier, self.method)
        if self.blocks > len(layout.blocks):
            raise ExplainerError(
                f"blocks={self.blocks} for {self.method}", allowed=f"1 to {len(layout.blocks)}"
            )
        self._keep(layout=layout)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        blocks = block_modules(self.classifier, layout)[-self.blocks :]
        outputs: list[Tensor] = []

        def keep_and_cut(_module: nn.Module, output: Any) -> Any:
            outputs.append(layout.tokens.tensor(output))
            return put_first_tensor(output, outputs[-1].detach())

        def pooled_tokens(_last: Tensor) -> Tensor:
            return torch.stack([self._pooled(tokens, layout) for tokens in outputs], 1).flatten(
                0, 1
            )

        with attention_graph(blocks) as attention, watching((b, keep_and_cut) for b in blocks):
            logits, of_blocks = read_variants(
                self.classifier, layout, images.detach().clone(), pooled_tokens, len(blocks)
            )
        targets = request.linear_targets(logits.detach())
        values = targets.of(of_blocks.sum(dim=1))
        maps = []
        for gradients in gradients_by_target(values, attention):
            means = [head_mean(gradient.relu(), len(images)) for gradient in gradients]
            maps.append(layout.patch_map(torch.stack(means).sum(dim=0).mean(dim=1)))
        return RawMaps(logits, targets, torch.stack(maps, dim=1))

    def _pooled(self, tokens: Tensor, layout: TransformerLayout) -> Tensor:
        """The rows of one block's tokens that the head is to read, (B, rows, D)."""
        if self.pooling == "classifier":
            return tokens[:, : layout.rows_for_head]
        return tokens.mean(dim=1, keepdim=True).expand(-1, layout.rows_for_head, -1)
