"""Class evidence: what each place gives to the logit, smoothed; nothing is trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.class_contrast import against_rivals
from ttame.classifiers.linear_end import LinearEnd, evidence_tap, find_linear_end
from ttame.errors import ExplainerError, setting
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.suggested_methods import WITHOUT_ATTENTION
from ttame.explainers.methods.activation.cam import evidence_maps
from ttame.explainers.methods.activation.last_grid import LastGrid, find_last_grid
from ttame.explainers.methods.activation.token_reads import (
    TokenReads,
    find_token_reads,
    token_evidence,
)
from ttame.explainers.passes.block_attention import gradients_by_target
from ttame.explainers.passes.residual_stream import read_stream
from ttame.features.tap_names import Tap
from ttame.features.token_contributions import TokenContributions
from ttame.images.map_details import with_details
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import noise_images


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ClassEvidence(Explainer[Explained]):
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

    Of a text it is what each token adds, through the attention of all blocks, to what the head
    reads, the class token or the mean of the tokens, times the gradient of the logit; along the
    residual stream alone, with the divisors of normalisations taken for constants, see
    :mod:`ttame.explainers.passes.residual_stream`. Nothing is smoothed.

    With ``contrast`` it is the evidence for c against that for the classes which would be said
    instead, ``(w_c − Σ_{j≠c} q_j w_j) · A`` with q the softmax of the logits without that of c: to
    first order what a place gives to ``log(p_c / (1 − p_c))``. What c shares with its rivals does
    not count. The map of a weighting is the weighted sum of the maps of its classes. See
    :mod:`ttame.classifiers.class_contrast`.

    No paper has it: where the logits are linear, it is what ttame's few-shot explainer knows before
    it is trained, without the min–max and the power that decide how bright its maps are (where an
    image is not square, that one's blur is a seventh of each side). Maps are (B, K, h, w) on the
    grid of the features, signed, in units of the logit.

    Args:
        classifier: its logits must be linear in a class token, or everything must go through a
            grid of features in its second half, or through tokens in front of the patches.
        details: d in ``(B + d (1 − B))²``, how much of short-range differences is kept, applied
            twice: 1 is the plain evidence, the only choice for texts, 0 its blur, blurred again.
            A half for images if not given.
        contrast: whether the evidence for other classes is taken off; for logits of images that are
            one linear layer on such features, and of which a softmax makes probabilities.

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
        explains=("images", "texts"),
    )

    details: float | None = None
    contrast: bool = False
    end: LinearEnd | LastGrid | TokenReads | None = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self._details <= 1:
            raise ExplainerError(f"{self.method} with details {self.details}", allowed="0 to 1")
        if not self.classifier.is_plane:
            self._refuse_contrast(None)
            self._of_texts()
            return
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
        self._refuse_contrast(end)
        self._keep(end=end, classifier=self.classifier.with_taps([tap]))

    def _refuse_contrast(self, end: LinearEnd | LastGrid | TokenReads | None) -> None:
        if self.contrast and not (isinstance(end, LinearEnd) and self.classifier.outputs.contrasts):
            raise ExplainerError(
                f"{self.method} with contrast for {self.classifier.name}",
                allowed="logits of images that are linear in features and compete in a softmax",
                remedy=setting("contrast", False),
            )

    def provenance(self) -> dict[str, Any]:
        """As of every method; a contrast where there is one, as it is younger than kept figures."""
        facts = super().provenance()
        return {name: facts[name] for name in facts if name != "contrast" or self.contrast}

    @property
    def _details(self) -> float:
        """Of texts all, of images half, where nothing was said."""
        if self.details is not None:
            return self.details
        return 0.5 if self.classifier.is_plane else 1.0

    def _of_texts(self) -> None:
        """Find out whether tokens are added to each other, as evidence of texts takes it."""
        if self._details != 1:
            raise ExplainerError(
                f"{self.method} of texts with details {self.details}",
                allowed="1: tokens are not blurred",
            )
        if read_stream(self.classifier, _noise(self.classifier)) is None:
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}: what its attention adds "
                "to the tokens is not found",
                remedy=WITHOUT_ATTENTION[self.classifier.kind],
            )
        self._keep(end=None)

    def _decided(self) -> dict[str, Any]:
        decided: dict[str, Any] = {"details": self._details}
        exact = isinstance(self.end, LinearEnd) or (
            isinstance(self.end, LastGrid) and self.end.exact
        )
        return decided if exact else {**decided, "evidence": "to first order"}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        if self.end is None:
            return self._of_tokens(images, request)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with torch.no_grad():
            if isinstance(self.end, TokenReads):
                raw = token_evidence(self.classifier, self.end, images, request)
            elif isinstance(self.end, LinearEnd) and self.contrast:
                raw = contrasted_evidence(self.classifier, self.end, images, request)
            else:
                raw = evidence_maps(self.classifier, self.end, images, request)
            maps = with_details(with_details(raw.maps, self._details, size), self._details, size)
        return raw._replace(maps=maps)

    def _of_tokens(self, images: Tensor, request: Request) -> RawMaps:
        read = read_stream(self.classifier, images)
        assert read is not None, "it was when the method was made"
        scores, blocks = read
        targets = request.linear_targets(scores.detach())
        maps = []
        for gradients in gradients_by_target(targets.of(scores), [part.added for part in blocks]):
            drawn = [
                part.drawn_from_tokens(gradient)
                for part, gradient in zip(blocks, gradients, strict=True)
            ]
            maps.append(torch.stack(drawn).sum(dim=0)[:, None])
        return RawMaps(scores.detach(), targets, torch.stack(maps, dim=1))


def contrasted_evidence(
    classifier: Explainable, end: LinearEnd, images: Tensor, request: Request
) -> RawMaps:
    """The evidence for classes less that for their rivals; weightings are sums of such maps."""
    read = classifier.read_features(images)
    targets = request.linear_targets(read.logits)
    classes, rows = targets.single_classes().classes, end.weights(classifier).float()
    features = read.feature_maps[0].float()

    def evidence_for(weights: Tensor) -> Tensor:
        return torch.einsum("bkc,bchw->bkhw", weights, features)

    own = evidence_for(rows[classes])
    maps = against_rivals(own, evidence_for, rows, read.logits.float(), classes)
    return RawMaps(read.logits, targets, targets.from_class_maps(maps))


def _end(classifier: Explainable) -> tuple[LinearEnd | LastGrid | TokenReads, Tap] | None:
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


def _noise(classifier: Explainable) -> Tensor:
    network, trace = uncompiled(classifier.network), classifier.trace
    return noise_images(network, trace.image_size, 1, trace.channels)
