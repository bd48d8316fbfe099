"""CAAP, causal attribution via activation patching: Izadi et al., arXiv 2603.13652."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, checked_score
from ttame.explainers.passes.block_attention import (
    block_modules,
    block_number,
    layout_for,
    require_layout,
)
from ttame.explainers.passes.token_variants import maps_of_scores
from ttame.images.hidden_pixels import HidingGround, hiding_ground
from ttame.networks.layer_outputs import first_tensor, put_first_tensor, watching


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Caap(Explainer):
    """The class score of a neutral image in which one patch has the activations of the photo.

    For patch i, class c and blocks b from the first to the last of a range::

        S_c(i) = f_c( x₀ with z^b_i := z^b_i(x) after each block b = first .. last )

    ``z^b_i(x)`` is what block b puts out for patch i of the photo x, ``x₀`` an image with nothing
    on it, which the network sees otherwise. Each patch is tried alone, its tokens being inserted
    after every block of an intermediate range: early blocks have not formed what a patch means yet,
    late ones have mixed it with all others. All classes come from one run.

    Known here is the abstract of the paper alone: which activations go where, that the range is
    intermediate, that the context is neutral and that the target class's score is the map.
    Uncertain, and chosen here: the range (the middle third of the blocks), the context (the mean
    colour), the score (the logit), that "activations" are a block's output, and that patches are
    inserted one by one without their neighbours.

    Args:
        classifier: a Vision Transformer of one resolution.
        first: the first block after which tokens are inserted, from 0; negative numbers count from
            the last. The block at a third of the depth if not given.
        last: the last such block; the one before two thirds of the depth if not given.
        context: what the neutral image is: ``"mean"``, ``"black"``, ``"blur"`` or ``"noise"``.
        score: ``"logit"`` or ``"probability"``.

    Raises:
        ExplainerError: the network is not such a transformer, or an option is out of range.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> explain = Caap(tiny_classifier("vit", size=32))
        >>> explain(torch.zeros(3, 3, 32, 32), "all").maps.shape, explain.options["first"]
        (torch.Size([3, 5, 2, 2]), 0)
    """

    card = MethodCard(
        name="caap",
        title="CAAP",
        family="perturbation",
        networks="Vision Transformers of one resolution",
        cost="1 forward and N times two thirds of one, all classes",
        paper="Izadi et al., arXiv 2603.13652",
        targets=EVERY_TARGET,
    )

    first: int | None = None
    last: int | None = None
    context: HidingGround = "mean"
    score: ScoreKind = "logit"
    layout: TransformerLayout = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "context", self.context, get_args(HidingGround))
        checked_score(self.score)
        layout = require_layout(self.classifier, self.method)
        depth = len(layout.blocks)
        first = depth // 3 if self.first is None else self.first
        first = block_number(first, layout, self.method)
        last = max(first, 2 * depth // 3 - 1) if self.last is None else self.last
        last = block_number(last, layout, self.method)
        if last < first:
            raise ExplainerError(
                f"first={first} and last={last} for {self.method}",
                allowed="a first block that is not behind the last one",
            )
        self._keep(layout=layout, first=first, last=last)

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        layout = layout_for(self.classifier, self.layout, images)
        logits, source = self._source(images, layout)
        targets = request.targets(logits)
        neutral = hiding_ground(images, self.context, self.classifier.preprocessing)
        places = layout.number_of_tokens - layout.tokens.prefix_tokens
        item = bytes_per_image(self.classifier, images)
        at_once = items_at_once(item, request.memory_budget, most_at_once(logits.device))
        rows = []
        parts = in_chunks(len(images) * places, min(at_once, places), request.progress)
        for image, patches in _of_one_image(parts, places):
            inserted = [tokens[image, layout.tokens.prefix_tokens :][patches] for tokens in source]
            rows.append(self._scores(neutral[image : image + 1], patches, inserted, layout))
        of_patches = torch.cat(rows).reshape(len(images), places, -1)
        outputs = self.classifier.outputs
        maps = maps_of_scores(of_patches, targets, layout, self.score, outputs)
        return RawMaps(logits, targets, maps)

    def _blocks(self, layout: TransformerLayout) -> list[nn.Module]:
        """The blocks after which tokens are inserted."""
        assert self.first is not None and self.last is not None
        return block_modules(self.classifier, layout)[self.first : self.last + 1]

    def _source(self, images: Tensor, layout: TransformerLayout) -> tuple[Tensor, list[Tensor]]:
        """The scores of the images, and the (B, T, D) tokens after each block of the range."""
        source: list[Tensor] = []

        def keep(_block: nn.Module, output: Any) -> None:
            source.append(layout.tokens.tensor(layout.tokens.batch_first(output)).clone())

        with watching([(block, keep) for block in self._blocks(layout)]):
            logits = self.classifier.logits(images)
        return logits, source

    def _scores(
        self, neutral: Tensor, patches: Tensor, inserted: list[Tensor], layout: TransformerLayout
    ) -> Tensor:
        """The scores (n, C) of a neutral image with one of the patches inserted each time.

        Args:
            neutral: (1, C, H, W).
            patches: (n,) int64.
            inserted: (n, D) for each block of the range.
            layout: at the images' size.
        """
        rows = torch.arange(len(patches), device=patches.device)
        columns = patches + layout.tokens.prefix_tokens

        def insert(tokens: Tensor) -> Any:
            def put(_block: nn.Module, output: Any) -> Any:
                turned = layout.tokens.batch_first(output)
                around = first_tensor(turned)
                assert around is not None
                # After the first block the neutral image becomes one image for each patch.
                changed = around.expand(len(patches), -1, -1).clone()
                changed[rows, columns] = tokens
                return layout.tokens.batch_first(put_first_tensor(turned, changed))

            return put

        blocks = self._blocks(layout)
        actions = [(b, insert(tokens)) for b, tokens in zip(blocks, inserted, strict=True)]
        with watching(actions):
            return self.classifier.logits(neutral, rows=len(patches))


def _of_one_image(parts: Iterator[slice], places: int) -> Iterator[tuple[int, Tensor]]:
    """The patches of a chunk, image by image: the image's number, and (n,) int64.

    Example:
        >>> [(image, patches.tolist()) for image, patches in _of_one_image(in_chunks(4, 3), 2)]
        [(0, [0, 1]), (1, [0]), (1, [1])]
    """
    for part in parts:
        numbers = torch.arange(part.start, part.stop)
        for image in range(part.start // places, (part.stop - 1) // places + 1):
            yield image, numbers[numbers // places == image] % places
