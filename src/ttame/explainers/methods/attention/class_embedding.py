"""Class-embedding projection: Vilas et al., Analyzing Vision Transformers ..., NeurIPS 2023."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, checked_score
from ttame.explainers.passes.block_attention import (
    block_modules,
    block_number,
    layout_for,
    require_layout,
)
from ttame.explainers.passes.token_variants import (
    maps_of_scores,
    read_variant_of_each_patch,
)
from ttame.networks.layer_outputs import reading


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClassEmbedding(Explainer):
    """What each patch token is, in class space: ``S_i = head_c(LN(z_i))``.

    ``z_i`` is the token of patch i after a block, ``LN`` the network's final normalisation and
    ``head_c`` its classifier's logit of class c. Both are the network's own: the token takes the
    place of every row that the head reads after the last block (of the class token, of the class
    and the distillation token, of all pooled patches), and what then comes out is ``S_i``. No head
    is looked for and none is built again, so that heads of several layers work too. With pooling
    by class token or average the result is ``head_c(LN(z_i))`` exactly; a head that attends to
    tokens sees T equal ones.

    Raw logits: signed, comparable between patches and between classes of an image. All classes
    come from one run.

    Args:
        classifier: a Vision Transformer of one resolution.
        block: the block whose output is projected; negative numbers count from the last. The paper
            projects every block; the last one says most.
        score: ``"logit"`` as in the paper, or ``"probability"``, the softmax over the classes for
            each patch.

    Raises:
        ExplainerError: the network is not such a transformer, or an option is not known.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> project = ClassEmbedding(tiny_classifier("vit", size=32))
        >>> project(torch.zeros(3, 3, 32, 32), "all").maps.shape
        torch.Size([3, 5, 2, 2])
    """

    card = MethodCard(
        name="class_embedding",
        title="Class-embedding projection",
        family="attention",
        networks="Vision Transformers of one resolution",
        cost="1 forward and N heads, all classes",
        paper="Vilas et al., NeurIPS 2023, arXiv 2310.18969",
        targets=EVERY_TARGET,
    )

    block: int = -1
    score: ScoreKind = "logit"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)
    number: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        layout = require_layout(self.classifier, self.method)
        self._keep(layout=layout, number=block_number(self.block, layout, self.method))
        checked_score(self.score)

    def _decided(self) -> dict[str, Any]:
        return {"pooling": self.layout.pooling}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        name = layout.blocks[self.number]
        with reading({name: block_modules(self.classifier, layout)[self.number]}) as outputs:

            def each_token_alone(_last: Tensor, patches: slice) -> Tensor:
                tokens = layout.tokens.tensor(outputs[name])
                chosen = tokens[:, layout.tokens.prefix_tokens :][:, patches].flatten(0, 1)
                return chosen[:, None].expand(-1, layout.rows_for_head, -1)

            logits, of_patches = read_variant_of_each_patch(
                self.classifier, layout, images, each_token_alone, request.memory_budget
            )
        targets = request.targets(logits)
        maps = maps_of_scores(of_patches, targets, layout, self.score, self.classifier.outputs)
        return RawMaps(logits, targets, maps)
