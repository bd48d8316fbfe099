"""Occlusion: Zeiler and Fergus, ECCV 2014."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.memory_budget import (
    bytes_needed,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, checked_score, target_scores

Fill = Literal["mean colour", "black", "mask", "padding", "zero"]

PixelSize = int | tuple[int, int]
"""Height and width in pixels; one number for both."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Occlusion(Explainer[Explained]):
    """Occlusion: how much of a class's score is lost when a window of the input is covered.

    ``d_v = s_c(x) − s_c(x with window v covered)``; a pixel's value is the mean of ``d_v`` over the
    windows that cover it. Windows slide from the top left by the stride; the last ones of a row or
    column are cut at the image's edge, so that every pixel is covered. One forward pass a window,
    shared by all classes. Signed: negative where covering helps the class.

    Of texts, whole words are covered one by one, or windows of tokens that slide by the stride;
    special tokens are left alone.

    Args:
        classifier: any network.
        window: (height, width) in pixels; a seventh of the image if not given (32×32 of 224×224).
            For texts how many tokens; single words if not given.
        stride: (down, across) in pixels, at most the window; half the window if not given. For
            texts in tokens; 1 if not given.
        fill: what covers: the data set's ``"mean colour"`` (0 after normalising), the default for
            images, or ``"black"``; for texts the embedding of the ``"mask"`` token, if the
            tokenizer has one, of ``"padding"``, or ``"zero"``.
        score: ``"logit"`` by default. The paper plots the ``"probability"``, which hardly moves
            where a class has all of it.

    Raises:
        ExplainerError: an option out of range; when called, a window larger than the image.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> Occlusion(classifier, window=8, stride=4)(torch.zeros(2, 3, 16, 16), 1).maps.shape
        torch.Size([2, 1, 16, 16])
    """

    card = MethodCard(
        name="occlusion",
        title="Occlusion",
        family="perturbation",
        networks="any",
        cost="1 + windows forwards (196 at 224x224), all classes",
        paper="Zeiler and Fergus, ECCV 2014",
        targets=EVERY_TARGET,
        map_is="pixels",
        explains=("images", "texts"),
    )

    window: PixelSize | None = None
    stride: PixelSize | None = None
    fill: Fill | None = None
    score: ScoreKind = "logit"

    def __post_init__(self) -> None:
        grounds = self.classifier.grounds
        known = tuple("mean colour" if ground == "mean" else ground for ground in grounds)
        check_choice(self.method, "fill", self._fill, known)
        checked_score(self.score)
        window, stride = _pair("window", self.window), _pair("stride", self.stride)
        if window and stride:
            _check_stride(window, stride)

    @property
    def _fill(self) -> str:
        """The usual one of the kind of classifier where nothing was said."""
        if self.fill is not None:
            return self.fill
        return "mean colour" if "mean" in self.classifier.grounds else self.classifier.grounds[0]

    def _decided(self) -> dict[str, Any]:
        return {"fill": self._fill}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        logits = self.classifier.logits(images)
        targets = request.targets(logits)
        images = images.to(logits.device)
        groups = self.classifier.groups(images)
        if groups is not None:
            maps = self._of_tokens(images, logits, targets, groups, request)
            return RawMaps(logits, targets, maps[:, :, None])
        rows, columns = (spans.to(images.device) for spans in self._windows(images.shape[2:]))
        windows = len(rows) * len(columns)
        items = torch.ones(len(images), windows, device=images.device).nonzero()

        def covered(_of_image: Tensor, window: Tensor) -> Tensor:
            row, column = rows[window // len(columns)], columns[window % len(columns)]
            return (row[:, :, None] * column[:, None, :])[:, None].bool()

        drops = self._drops(images, logits, targets, items, covered, request)
        drops = drops.reshape(*targets.shape, len(rows), len(columns))
        # The windows that cover a pixel are those of its row times those of its column.
        total = torch.einsum("vh,bkvu,uw->bkhw", rows, drops, columns)
        covering = rows.sum(dim=0)[:, None] * columns.sum(dim=0)
        return RawMaps(logits, targets, total / covering)

    def _of_tokens(
        self,
        images: Tensor,
        logits: Tensor,
        targets: ExplainedTargets,
        groups: Tensor,
        request: Request,
    ) -> Tensor:
        """(B, K, T): the mean loss of the windows that cover a token, 0 where none does."""
        covers = self._token_windows(groups)
        # Texts of a batch have words of their own: the windows that exist, and no others.
        items = covers.any(dim=2).nonzero()
        drops = self._drops(
            images, logits, targets, items, lambda b, v: covers[b, v][:, None, None], request
        )
        total = torch.einsum("bkv,bvt->bkt", drops, covers.float())
        return total / covers.sum(dim=1).clamp(min=1)[:, None]

    def _token_windows(self, groups: Tensor) -> Tensor:
        """Which tokens every window covers, (B, V, T) bool."""
        if self.window is None:
            numbers = torch.arange(1, int(groups.max()) + 1, device=groups.device)
            return groups[:, None] == numbers[:, None]
        window = (_pair("window", self.window) or (1, 1))[1]
        stride = (_pair("stride", self.stride) or (1, 1))[1]
        place = (groups > 0).cumsum(dim=1) - 1
        count = math.ceil(max(0, int(place.max()) + 1 - window) / stride) + 1
        starts = stride * torch.arange(count, device=groups.device)[:, None]
        place = place[:, None]
        return (groups > 0)[:, None] & (place >= starts) & (place < starts + window)

    def _windows(self, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Which pixel rows and which pixel columns the windows cover."""
        window = _pair("window", self.window) or (max(1, size[0] // 7), max(1, size[1] // 7))
        stride = _pair("stride", self.stride) or (max(1, window[0] // 2), max(1, window[1] // 2))
        _check_stride(window, stride)
        if window[0] > size[0] or window[1] > size[1]:
            raise ExplainerError(
                f"a window of {window[0]}x{window[1]} pixels on images of {size[0]}x{size[1]}",
                allowed="a window that fits into the image",
            )
        return spans(size[0], window[0], stride[0]), spans(size[1], window[1], stride[1])

    def _drops(
        self,
        images: Tensor,
        logits: Tensor,
        targets: ExplainedTargets,
        items: Tensor,
        covered: Callable[[Tensor, Tensor], Tensor],
        request: Request,
    ) -> Tensor:
        """What every window's covering costs: (B, K, V) float32, 0 for windows that do not exist.

        Args:
            images: (B, C, H, W).
            logits: of them.
            targets: of them.
            items: (n, 2) int64, the image and the number of each window that exists.
            covered: given images and windows, which of their places are covered, broadcastable.
            request: memory and progress.
        """
        classifier = self.classifier.for_many_passes()
        before = target_scores(logits, targets, self.score, self.classifier.outputs)
        windows = int(items[:, 1].max()) + 1
        drops = torch.zeros(*targets.shape, windows, device=targets.device, dtype=torch.float32)
        cover = (
            torch.zeros((), dtype=images.dtype, device=images.device)
            if self._fill == "mean colour"
            else self.classifier.ground(images, self._fill)
        )

        def measure(part: slice) -> None:
            of_image, window = items[part].unbind(dim=1)
            hidden = cover[of_image] if cover.ndim == 4 else cover
            after = classifier.logits(
                torch.where(covered(of_image, window), hidden, images[of_image])
            )
            after = target_scores(after, targets[of_image], self.score, self.classifier.outputs)
            drops[of_image, :, window] = before[of_image] - after

        item = bytes_needed(lambda: measure(slice(0, 1)))
        size = items_at_once(item, request.memory_budget, most_at_once(images.device))
        for part in in_chunks(len(items), size, request.progress):
            measure(part)
        return drops


def spans(length: int, window: int, stride: int) -> Tensor:
    """Which pixels of one axis every window covers, the last one cut at the edge.

    Returns:
        (windows, length) float32 of 0 and 1.

    Example:
        >>> spans(5, 2, 2)
        tensor([[1., 1., 0., 0., 0.],
                [0., 0., 1., 1., 0.],
                [0., 0., 0., 0., 1.]])
    """
    starts = stride * torch.arange(math.ceil((length - window) / stride) + 1)[:, None]
    pixels = torch.arange(length)
    return ((pixels >= starts) & (pixels < starts + window)).float()


def _pair(name: str, size: PixelSize | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ExplainerError(f"{name} {size!r}", allowed="pixels, at least 1: 32 or (32, 48)")
    return pair


def _check_stride(window: tuple[int, int], stride: tuple[int, int]) -> None:
    if stride[0] > window[0] or stride[1] > window[1]:
        raise ExplainerError(
            f"stride {stride} for a window of {window}, which leaves pixels uncovered",
            allowed="a stride of at most the window",
        )
