"""Extremal perturbations: Fong, Patrick and Vedaldi, ICCV 2019, arXiv 1910.08485."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice, check_count
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind
from ttame.explainers.methods.perturbation.optimised_masks import MaskedViews, optimised_maps

_REACH = 5
"""Cells beyond which the kernel is left out: it is 0.02 there."""

_TEMPERATURE = 1 / 20
_MOMENTUM = 0.9
_LARGEST_BLUR = 20.0
"""Pixels, for an image of 224."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ExtremalPerturbation(Explainer):
    """The masks of given areas that keep most of the target, found for each image.

    With the target Φ, the image x and an area a::

        m_a = argmax over smooth m of  Φ(m ⊗ x) − λ ‖vecsort(m) − r_a‖²
        S   = mean over areas of m_a

    ``m ⊗ x`` shows pixel u with the blur ``σ_max (1 − m(u))``; ``vecsort(m)`` are the mask's values
    in ascending order and ``r_a`` as many numbers, the last share ``a`` of which are 1 and all
    others 0: it holds the area and makes the mask binary. Smooth masks are of the form ``m(u) =
    smax_v k(u − v) m̄(v)`` with ``m̄`` in [0, 1] on a coarse grid, ``k(d) = exp(−max(0, |d| −
    1)²/4)``, d in cells, and ``smax f = Σ f exp(f/T) / Σ exp(f/T)``, T = 1/20: nothing smaller than
    the kernel can be shown. The map is high where a place is among the best at many areas.

    The formulas are the paper's as far as they are known here; its code was not read. Uncertain,
    and chosen here: the areas, and that their masks are averaged (the paper looks for the smallest
    area that keeps the target, and shows masks of single areas, which ``areas=(a,)`` gives); the
    start, 0.5 everywhere; a λ that grows with the square of the steps; their size. Deviations: Φ is
    divided by how much the target changes from nothing to all of the picture, so that λ and the
    steps mean the same for every network; the norm is a mean over the grid; the mask is made on the
    grid and interpolated to pixels. Masks are found that keep the target, none that remove it.
    Where places are worth the same, the last bit of a sum decides which are among the best, so that
    the map of a photo may depend a little on the batch that it is in.

    Args:
        classifier: any network that gradients go through.
        areas: shares of the picture that masks show.
        steps: of gradient ascent, for each area. The paper takes 800.
        cell: pixels of a cell of the grid, for an image of any size.
        area_weight: λ at the end.
        rate: of the gradient ascent, whose momentum is 0.9.
        score: what Φ reads: the target's ``"logit"`` or its ``"probability"``.

    Raises:
        ExplainerError: an option out of range.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> explain = ExtremalPerturbation(tiny_classifier(), areas=(0.25,), steps=3, cell=4)
        >>> explain(torch.rand(1, 3, 16, 16), "top2").maps.shape
        torch.Size([1, 2, 4, 4])
    """

    card = MethodCard(
        name="extremal_perturbation",
        title="Extremal perturbation",
        family="perturbation",
        networks="any that gradients go through",
        cost="3 + steps · areas (400) forward, 400 backward per class",
        paper="Fong, Patrick and Vedaldi, ICCV 2019, arXiv 1910.08485",
        targets=EVERY_TARGET,
    )

    areas: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    steps: int = 100
    cell: int = 7
    area_weight: float = 10.0
    rate: float = 0.05
    score: ScoreKind = "logit"

    def __post_init__(self) -> None:
        areas = (self.areas,) if isinstance(self.areas, int | float) else tuple(self.areas)
        if not areas or not all(isinstance(area, float) and 0 < area < 1 for area in areas):
            raise ExplainerError(
                f"areas={self.areas!r} for {self.method}", allowed="shares between 0 and 1"
            )
        self._keep(areas=areas)
        check_count(self.method, "steps", self.steps)
        check_count(self.method, "cell", self.cell)
        for name in ("area_weight", "rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ExplainerError(
                    f"{name}={getattr(self, name)!r} for {self.method}", allowed="above 0"
                )
        check_choice(self.method, "score", self.score, get_args(ScoreKind))

    def provenance(self) -> dict[str, Any]:
        """The areas as a list, which JSON has."""
        return {**super().provenance(), "areas": list(self.areas)}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return optimised_maps(
            self.classifier,
            images,
            request,
            self._mean_of_areas,
            steps=self.steps * len(self.areas),
            blur=_LARGEST_BLUR,
            score=self.score,
        )

    def _mean_of_areas(self, views: MaskedViews) -> Tensor:
        """(n, h, w) in [0, 1]."""
        with torch.no_grad():
            span = (views.values(views.levels[0]) - views.values(views.levels[-1])).abs()
        span = span.clamp_min(1e-6)
        return torch.stack([self._of_area(views, area, span) for area in self.areas]).mean(dim=0)

    def _of_area(self, views: MaskedViews, area: float, span: Tensor) -> Tensor:
        count, rows, columns = views.grid(self.cell)
        values = torch.full((count, 1, rows, columns), 0.5).to(views.levels)
        wanted = area_reference(rows * columns, area).to(values)
        velocity = torch.zeros_like(values)
        for step in range(self.steps):
            values.requires_grad_()
            masks = smooth_masks(values)
            worth = views.values(views.seen(masks)) / span
            missed = (masks.flatten(1).sort(dim=1).values - wanted).square().mean(dim=1)
            # Nothing at first: among equal values the order would be that of the places.
            weight = self.area_weight * (step / self.steps) ** 2
            (slope,) = torch.autograd.grad((worth - weight * missed).sum(), values)
            velocity = _MOMENTUM * velocity + slope * (rows * columns)
            values = (values.detach() + self.rate * velocity).clamp(0, 1)
            views.told()
        return smooth_masks(values)[:, 0]


def smooth_masks(values: Tensor) -> Tensor:
    """The smooth maximum over the neighbours of each cell, weighted by their distance.

    Args:
        values: (n, 1, h, w) in [0, 1].

    Returns:
        (n, 1, h, w) in [0, 1], differentiable.

    Example:
        >>> smooth_masks(torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])).flatten()
        tensor([0.7788, 1.0000, 1.0000, 1.0000, 0.7788])
    """
    reach = torch.arange(-_REACH, _REACH + 1, device=values.device, dtype=values.dtype)
    distance = (reach[:, None].square() + reach[None].square()).sqrt()
    kernel = torch.exp(-((distance - 1).clamp_min(0) ** 2) / 4).reshape(1, -1, 1)
    near = F.unfold(values, 2 * _REACH + 1, padding=_REACH) * kernel
    # Neighbours of value 0 take part, too; those beyond the picture have it.
    smooth = (near * torch.softmax(near / _TEMPERATURE, dim=1)).sum(dim=1)
    return smooth.reshape(values.shape)


def area_reference(places: int, area: float) -> Tensor:
    """The values that a binary mask of this area has, in ascending order: (places,) float32.

    Example:
        >>> area_reference(4, 0.25).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    shown = min(places, max(1, round(area * places)))
    return torch.cat([torch.zeros(places - shown), torch.ones(shown)])
