"""Meaningful perturbations: Fong and Vedaldi, ICCV 2017, arXiv 1704.03296."""

from __future__ import annotations

import dataclasses
from typing import get_args

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice, check_count
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind
from ttame.explainers.methods.perturbation.optimised_masks import (
    PUBLISHED_SIDE,
    MaskedViews,
    optimised_maps,
)
from ttame.images.local_blur import gaussian_blurred
from ttame.images.moved_images import Move, moved

_PUBLISHED_PLACES = 28 * 28
"""Of the published grid: the weights belong to sums over as many."""

_LARGEST_BLUR = 10.0
_MASK_BLUR = 5.0
"""Pixels, for an image of 224."""

_SUPPRESSED = 0.99
_CIRCLES = 10
"""Of what deleting everything takes away, and how many radii are tried."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class MeaningfulPerturbation(Explainer):
    """The smallest smooth deletion that takes the target away, found for each image.

    With the image x and a mask m::

        min over m in [0, 1]  λ₁ Σ_u |1 − m(u)| + λ₂ Σ_u ‖∇m(u)‖_β^β + E_τ[ p(Φ(x(· − τ); m)) ]
        S = 1 − m

    ``Φ(x; m)`` shows pixel u with the blur ``σ₀ (1 − m(u))``; m is optimised on a grid of one cell
    for 8 pixels, blurred (σ 5 pixels) and interpolated; τ is a shift by up to 4 pixels, another one
    in every step; p is the target's probability. Adam, 300 steps of rate 0.1, β = 3, λ₁ = 1e-4,
    λ₂ = 1e-2, σ₀ = 10 (lengths for an image of 224; others scale with the shorter side).

    Formula and constants are the paper's as far as they are known here, without its text or code at
    hand: take them for uncertain. The mask starts as the smallest deleted circle in the middle
    that takes away 99 % of what deleting everything does: where a probability is close to 1, it has
    no gradient at the whole picture. Deviation: the sums are means times the 784 places of the
    published grid (28 × 28), so that the weights mean the same at every size.

    Args:
        classifier: any network that gradients go through.
        steps: of Adam.
        cell: pixels of a cell of the grid.
        area_weight: λ₁.
        smoothness_weight: λ₂.
        power: β.
        jitter: the longest shift in pixels, for an image of 224.
        rate: of Adam.
        score: what is made small: the target's ``"probability"`` or its ``"logit"``.
        seed: of the shifts.

    Raises:
        ExplainerError: an option out of range.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> explain = MeaningfulPerturbation(tiny_classifier(), steps=3)
        >>> explain(torch.rand(1, 3, 16, 16), "top2").maps.shape
        torch.Size([1, 2, 2, 2])
    """

    card = MethodCard(
        name="meaningful_perturbation",
        title="Meaningful perturbation",
        family="perturbation",
        networks="any that gradients go through",
        cost="13 + steps (300) forward, 300 backward per class",
        paper="Fong and Vedaldi, ICCV 2017, arXiv 1704.03296",
        targets=EVERY_TARGET,
        random=True,
    )

    steps: int = 300
    cell: int = 8
    area_weight: float = 1e-4
    smoothness_weight: float = 1e-2
    power: float = 3.0
    jitter: float = 4.0
    rate: float = 0.1
    score: ScoreKind = "probability"
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.method, "steps", self.steps)
        check_count(self.method, "cell", self.cell)
        for name, least in (
            ("area_weight", 0.0),
            ("smoothness_weight", 0.0),
            ("power", 1.0),
            ("jitter", 0.0),
            ("rate", 1e-12),
        ):
            if not least <= getattr(self, name) < float("inf"):
                raise ExplainerError(
                    f"{name}={getattr(self, name)!r} for {self.method}",
                    allowed="above 0" if name == "rate" else f"at least {least:g}",
                )
        check_choice(self.method, "score", self.score, get_args(ScoreKind))

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return optimised_maps(
            self.classifier,
            images,
            request,
            self._deleted,
            steps=self.steps,
            blur=_LARGEST_BLUR,
            score=self.score,
        )

    def _deleted(self, views: MaskedViews) -> Tensor:
        """(n, h, w) in [0, 1]: 1 where the picture had to be blurred away."""
        generator = torch.Generator().manual_seed(self.seed)
        values = first_circles(views, self.cell).requires_grad_()
        optimiser = torch.optim.Adam([values], lr=self.rate)
        pixels = min(views.levels.shape[-2:]) / PUBLISHED_SIDE
        for _ in range(self.steps):
            mask = gaussian_blurred(values, _MASK_BLUR * pixels / self.cell)
            seen = moved(views.seen(mask), _shift(self.jitter * pixels, generator))
            cost = deletion_cost(
                mask, self.area_weight, self.smoothness_weight, self.power
            ) + views.values(seen)
            optimiser.zero_grad()
            torch.autograd.backward(cost.sum(), inputs=[values])
            optimiser.step()
            values.data.clamp_(0, 1)
            views.told()
        return 1 - gaussian_blurred(values.detach(), _MASK_BLUR * pixels / self.cell)[:, 0]


@torch.no_grad()
def first_circles(views: MaskedViews, cell: int) -> Tensor:
    """The smallest deleted circles that nearly do what deleting everything does.

    Args:
        views: of n images with one target each.
        cell: pixels of a cell of the grid.

    Returns:
        (n, 1, h, w) of 0 inside a circle around the middle and 1 outside; 0 everywhere where no
        circle is enough.
    """
    count, rows, columns = views.grid(cell)
    down, across = torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns)
    distance = (down[:, None].square() + across.square()).sqrt().to(views.levels)
    whole, nothing = views.values(views.levels[0]), views.values(views.levels[-1])
    wanted = whole - _SUPPRESSED * (whole - nothing)
    circles = torch.zeros(count, 1, rows, columns).to(views.levels)
    for radius in torch.linspace(float(distance.max()), 0, _CIRCLES + 1)[1:].tolist():
        tried = (distance > radius).to(circles).expand_as(circles)
        enough = views.values(views.seen(tried)) <= wanted
        circles = torch.where(enough[:, None, None, None], tried, circles)
    return circles.contiguous()


def deletion_cost(
    masks: Tensor, area_weight: float, smoothness_weight: float, power: float
) -> Tensor:
    """What a deletion costs, whatever it deletes: its size and its edges.

    Args:
        masks: (n, 1, h, w) in [0, 1].
        area_weight: λ₁.
        smoothness_weight: λ₂.
        power: β.

    Returns:
        (n,), for sums over 28 × 28 places.

    Example:
        >>> deletion_cost(torch.tensor([[[[1.0, 0.5]]]]), 1 / 784, 1 / 784, 3.0)
        tensor([0.3125])
    """
    down = (masks[..., 1:, :] - masks[..., :-1, :]).abs().pow(power).sum(dim=(1, 2, 3))
    across = (masks[..., 1:] - masks[..., :-1]).abs().pow(power).sum(dim=(1, 2, 3))
    hidden = (1 - masks).abs().sum(dim=(1, 2, 3))
    scale = _PUBLISHED_PLACES / (masks.shape[2] * masks.shape[3])
    return scale * (area_weight * hidden + smoothness_weight * (down + across))


def _shift(most: float, generator: torch.Generator) -> Move:
    longest = round(most)
    down, right = torch.randint(-longest, longest + 1, (2,), generator=generator).tolist()
    return Move(down=down, right=right)
