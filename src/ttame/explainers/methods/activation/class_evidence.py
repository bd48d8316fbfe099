"""Class evidence: what each place gives to the logit, smoothed; nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import LinearEnd, evidence_tap, find_linear_end
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.cam import evidence_maps
from ttame.explainers.methods.activation.last_grid import LastGrid, find_last_grid
from ttame.explainers.methods.activation.token_reads import (
    TokenReads,
    find_token_reads,
    token_evidence,
)
from ttame.features.tap_names import Tap
from ttame.features.token_contributions import TokenContributions
from ttame.images.map_details import with_details


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClassEvidence(Explainer):
    """The part of the logit that is a place's own, smoothed: ``((1 + B)/2)² (w_c · A)``.

    ``w_c`` is the row of the last linear layer for class c, and ``A`` what each place gives to the
    features that it reads: the features themselves where they are averaged, so that ``w_c · A`` is
    CAM; where a class token is read, what each token adds to it in all blocks, see
    :mod:`ttame.features.token_contributions`. ``B`` is a Gaussian blur whose standard deviation
    is a seventh of the image's shorter side.

    Where other layers than one linear one follow (an activation behind the average, a flattened
    map, class attention), ``w_c`` is the gradient of the logit with respect to the features, for
    each image and place anew, times the number of places: what a place gives **to first order**,
    at the last layer that everything goes through. ``options`` then say so. Their average is not
    the logit, unless that is linear in the features up to what these are divided by, as cosines
    are. See :mod:`ttame.explainers.methods.activation.last_grid`. Where a class token is read but
    what tokens add to it is not found (stages of blocks, two transformers in one, a second token
    for distillation), it is what patches give to it in the blocks of the coarsest grid, to first
    order as well; see :mod:`ttame.explainers.methods.activation.token_reads`.

    No paper has it: where the logits are linear, it is what ttame's few-shot explainer knows before
    it is trained, without the min–max and the power that decide how bright its maps are (where an
    image is not square, that one's blur is a seventh of each side). Maps are (B, K, h, w) on the
    grid of the features, signed, in units of the logit.

    Args:
        classifier: its logits must be linear in a class token, or everything must go through a
            grid of features in its second half, or through tokens in front of the patches.
        details: d in ``(B + d (1 − B))²``, how much of short-range differences is kept, applied
            twice: 1 is the plain evidence, 0 its blur, blurred again.

    Raises:
        ExplainerError: they are not, or ``details`` is outside 0 to 1.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> explain = ClassEvidence(tiny_classifier("vit", size=64))
        >>> explain(torch.zeros(3, 3, 64, 64), "all").maps.shape
        torch.Size([3, 5, 4, 4])
    """

    card = MethodCard(
        name="class_evidence",
        title="Class evidence",
        family="class activation",
        networks="logits linear in averaged features, or in the class token of residual attention; "
        "to first order, others whose features all go through a grid or a class token",
        cost="1 forward, all classes; to first order 1 backward of the last layers per class",
        paper="none: the few-shot explainer of ttame before training",
        targets=LINEAR_TARGETS,
    )

    details: float = 0.5
    end: LinearEnd | LastGrid | TokenReads = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.details <= 1:
            raise ExplainerError(f"{self.method} with details {self.details}", allowed="0 to 1")
        found = _end(self.classifier)
        if found is None:
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}: its logits are not one "
                "linear layer on averaged features or on a class token to which tokens are added, "
                "and neither a grid of features in its second half nor what blocks give to a class "
                "token decides them alone",
                remedy="grad_cam",
            )
        end, tap = found
        self._keep(end=end, classifier=self.classifier.with_taps([tap]))

    def _decided(self) -> dict[str, Any]:
        if isinstance(self.end, LinearEnd) or (isinstance(self.end, LastGrid) and self.end.exact):
            return {}
        return {"evidence": "to first order"}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        if isinstance(self.end, TokenReads):
            raw = token_evidence(self.classifier, self.end, images, request)
        else:
            raw = evidence_maps(self.classifier, self.end, images, request)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        maps = with_details(with_details(raw.maps, self.details, size), self.details, size)
        return raw._replace(maps=maps)


def _end(classifier: Classifier) -> tuple[LinearEnd | LastGrid | TokenReads, Tap] | None:
    """The end of the network, and where a place's own part is read."""
    linear = find_linear_end(classifier)
    if linear is not None:
        tap = evidence_tap(classifier, linear)
        if linear.pooling == "average" or isinstance(tap, TokenContributions):
            return linear, tap
    grid = find_last_grid(classifier)
    if grid is not None:
        return grid, grid.features
    reads = find_token_reads(classifier)
    return None if reads is None else (reads, reads.layers[-1])
