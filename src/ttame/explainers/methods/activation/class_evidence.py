"""Class evidence: what each place gives to the logit, smoothed; nothing is trained."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.classifiers.linear_end import LinearEnd, evidence_tap, find_linear_end
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.cam import evidence_maps
from ttame.features.token_contributions import TokenContributions
from ttame.images.map_details import with_details


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClassEvidence(Explainer):
    """The part of the logit that is a place's own, smoothed: ``((1 + B)/2)² (w_c · A)``.

    ``w_c`` is the row of the last linear layer for class c, and ``A`` what each place gives to the
    features that it reads: the features themselves where they are averaged, so that ``w_c · A`` is
    CAM; where a class token is read, what each token adds to it in all blocks, see
    :mod:`ttame.features.token_contributions`. ``B`` is a Gaussian blur whose standard deviation
    is a seventh of the side.

    No paper has it: it is what ttame's few-shot explainer knows before it is trained, without the
    min–max and the power that decide how bright its maps are. Maps are (B, K, h, w) on the grid of
    the features, signed, in units of the logit.

    Args:
        classifier: its logits must be linear in averaged features or in a class token.
        details: d in ``(B + d (1 − B))²``, how much of short-range differences is kept, applied
            twice: 1 is the plain evidence, 0 its blur, blurred again.

    Raises:
        ExplainerError: they are not, or what tokens add to the class token is not found, or
            ``details`` is outside 0 to 1.

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
        networks="logits linear in averaged features, or in the class token of residual attention",
        cost="1 forward, all classes",
        paper="none: the few-shot explainer of ttame before training",
        targets=LINEAR_TARGETS,
    )

    details: float = 0.5
    end: LinearEnd = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.details <= 1:
            raise ExplainerError(f"{self.method} with details {self.details}", allowed="0 to 1")
        end = find_linear_end(self.classifier)
        tap = None if end is None else evidence_tap(self.classifier, end)
        if (
            end is None
            or tap is None
            or (end.pooling == "class token" and not isinstance(tap, TokenContributions))
        ):
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}: its logits are not one "
                "linear layer on averaged features or on a class token to which tokens are added",
                remedy="grad_cam",
            )
        self._keep(end=end, classifier=self.classifier.with_taps([tap]))

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        raw = evidence_maps(self.classifier, self.end, images, request)
        maps = with_details(with_details(raw.maps, self.details), self.details)
        return raw._replace(maps=maps)
