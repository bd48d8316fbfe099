"""Refining maps: a few steps towards maps that keep the class, and whose top removes it.

The network is asked what its class's probability is when only the top of a map is shown, and when
the top is hidden, and the map's own values follow the gradient.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses, ExplainedTargets
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.finite_maps import refuse_non_finite
from ttame.explainers.contract.memory_budget import (
    Progress,
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
    part_of,
)
from ttame.explainers.contract.request import RawMaps, Request
from ttame.images.hidden_pixels import HidingGround, hiding_ground
from ttame.images.pixel_masking import show_on_ground
from ttame.images.saliency_maps import resize_maps

_SHARES = (0.1, 0.9)
"""Of the picture, between which the kept or removed share of a step is drawn."""

_SOFTNESS = 0.3
"""Width of a mask's edge, in standard deviations of the map."""

_MOST_REWARD = 1.0
"""A mask is rewarded for up to twice the probability of the whole picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refinement:
    """How maps are refined.

    Attributes:
        steps: the number of steps of Adam, at least 0.
        grounds: what hidden pixels become: every step is taken on all of them at once, so that no
            single one can be fitted.
        grid: (h, w) of the refined map; ``None`` for the map's own. A coarse grid has less room
            for patterns that only this network sees.
        rate: the rate of Adam, in standard deviations of the map.
        seed: the seed of the shares that are kept, and of the noise.

    Raises:
        ExplainerError: a setting outside of what is allowed.

    Example:
        >>> Refinement(steps=10).passes
        20
    """

    steps: int
    grounds: tuple[HidingGround, ...] = ("blur", "mean")
    grid: tuple[int, int] | None = None
    rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or self.steps < 0:
            raise ExplainerError(f"{self.steps!r} steps of refinement", allowed="0, 1, 2, ...")
        known = get_args(HidingGround)
        if not self.grounds or not set(self.grounds) <= set(known):
            raise ExplainerError(
                f"grounds {self.grounds!r}", allowed=f"one or several of {', '.join(known)}"
            )
        if self.grid is not None and not (len(self.grid) == 2 and min(self.grid) >= 2):
            raise ExplainerError(f"grid {self.grid!r}", allowed="(h, w), each at least 2")
        if not 0 < self.rate < float("inf"):
            raise ExplainerError(f"rate {self.rate!r} of refinement", allowed="above 0")

    @property
    def passes(self) -> int:
        """Forward passes, and as many backward, for each image and class."""
        return self.steps * len(self.grounds)

    @property
    def suffix(self) -> str:
        """What is added to a method's name.

        Example:
            >>> Refinement(steps=3, grid=(7, 7)).suffix
            '+refined3@7'
        """
        height, width = self.grid or (0, 0)
        sides = f"{height}" if height == width else f"{height}x{width}"
        return f"+refined{self.steps}" + (f"@{sides}" if self.grid else "")

    def facts(self) -> dict[str, str | int | float]:
        """For the provenance of refined maps."""
        return {
            "refined_steps": self.steps,
            "refined_grounds": ", ".join(self.grounds),
            "refined_grid": "that of the map"
            if self.grid is None
            else f"{self.grid[0]} x {self.grid[1]}",
            "refined_rate": self.rate,
            "refined_seed": self.seed,
        }

    def shares(self) -> list[float]:
        """The share of each step: those of more steps begin with those of fewer."""
        generator = torch.Generator().manual_seed(self.seed)
        low, high = _SHARES
        return [
            low + (high - low) * float(torch.rand(1, generator=generator, dtype=torch.float64))
            for _ in range(self.steps)
        ]


def parse_refinement(text: str) -> Refinement:
    """Read steps, and perhaps a grid, as they are typed.

    Raises:
        ExplainerError: it cannot be read.

    Example:
        >>> parse_refinement("10").steps, parse_refinement("10@7").grid
        (10, (7, 7))
    """
    found = re.fullmatch(r"(\d{1,6})(?:@(\d{1,4})(?:x(\d{1,4}))?)?", text.strip())
    if found is None:
        raise ExplainerError(
            f"refinement {text!r}", allowed="steps, or steps@grid: 10, 10@14, 10@7x9"
        )
    steps, height, width = found.groups()
    grid = None if height is None else (int(height), int(width or height))
    return Refinement(steps=int(steps), grid=grid)


def explain_and_refine(
    explain: Callable[[Tensor, Request], RawMaps],
    method: str,
    classifier: Classifier,
    images: Tensor,
    request: Request,
    refinement: Refinement,
) -> RawMaps:
    """Ask a method for maps and refine them, with one progress for both.

    Args:
        explain: the method, from images and a request to maps of classes.
        method: its name, for errors.
        classifier: the network.
        images: (B, C, H, W), normalised.
        request: the request of the call.
        refinement: the refinement of the maps.

    Raises:
        NonFiniteMapError: the method's maps are not finite.
    """
    pairs, of_method = 0, 0

    def targets(scores: Tensor) -> ExplainedTargets:
        nonlocal pairs
        chosen = request.targets(scores)
        pairs = chosen.classes.numel()
        return chosen

    def told(done: int, total: int) -> None:
        nonlocal of_method
        of_method = total
        if request.progress is not None:
            request.progress(done, total + pairs * refinement.passes)

    asked = dataclasses.replace(request, targets=targets, progress=told)
    raw = explain(images, asked)
    refuse_non_finite(raw.maps, method)
    maps = refine_maps(
        classifier,
        images,
        raw.maps,
        raw.targets.classes,
        raw.scores,
        refinement,
        memory_budget=request.memory_budget,
        progress=part_of(request.progress, of_method, of_method + pairs * refinement.passes),
    )
    return raw._replace(maps=maps)


def refine_maps(
    classifier: Classifier,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    scores: Tensor,
    refinement: Refinement,
    *,
    memory_budget: int,
    progress: Progress | None = None,
) -> Tensor:
    """Refine maps; each for its own image and class, whatever else is in the batch.

    Args:
        classifier: is asked ``refinement.passes`` times about each map.
        images: (B, C, H, W), normalised.
        maps: (B, K, h, w).
        classes: (B, K) int64.
        scores: (B, C) of the images.
        refinement: steps, grounds, grid, rate and seed.
        memory_budget: bytes of activations at a time.
        progress: told the finished and total passes.

    Returns:
        (B, K, h, w) float32, or on the refinement's grid: each with the scale of the map that it
        began as.
    """
    maps = maps.detach().float()
    if refinement.grid is not None:
        maps = torch.nn.functional.adaptive_avg_pool2d(maps, refinement.grid)
    if not refinement.steps:
        return maps
    probabilities = classifier.outputs.probabilities(scores.detach()).gather(1, classes).flatten()
    rows = torch.arange(len(images), device=images.device).repeat_interleave(maps.shape[1])
    flat, labels = maps.flatten(0, 1), classes.flatten()
    with differentiating():
        each = bytes_per_image(classifier, images, gradients=True) * len(refinement.grounds)
    at_once = items_at_once(each, memory_budget, most_at_once(images.device))
    refined = []
    for part in in_chunks(len(flat), at_once):
        before = part.start * refinement.passes
        task = MaskingTask.of(
            classifier, images[rows[part]], labels[part], probabilities[part], refinement
        )

        def told(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, len(flat) * refinement.passes)

        refined.append(_refined(task, flat[part], refinement, told))
    return torch.cat(refined).reshape(maps.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class MaskingTask:
    """What maps are refined for: pictures, their classes, and grounds to hide pixels with.

    Attributes:
        classifier: gives the probabilities.
        images: (n, C, H, W).
        classes: (n,) int64.
        probabilities: (n,) of the classes when the whole picture is seen.
        grounds: (G, n, C, H, W).
    """

    classifier: Classifier
    images: Tensor
    classes: Tensor
    probabilities: Tensor
    grounds: Tensor

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        images: Tensor,
        classes: Tensor,
        probabilities: Tensor,
        refinement: Refinement,
    ) -> MaskingTask:
        """With the grounds of a refinement."""
        images = images.detach()
        grounds = [
            hiding_ground(images, ground, classifier.preprocessing, refinement.seed)
            for ground in refinement.grounds
        ]
        return cls(classifier, images, classes, probabilities, torch.stack(grounds))

    def loss(self, maps: Tensor, share: float, *, removing: bool) -> Tensor:
        """How much is lost when a share is kept, or left when it is removed, (n,) at least −1.

        ``1 − p(kept)/p``, or ``p(rest)/p``: p is the class's probability for the whole picture, and
        a mean is taken over the grounds.

        Args:
            maps: (n, h, w), any scale.
            share: the share of the picture, the top of the map.
            removing: whether the top is removed instead of kept.
        """
        height, width = self.images.shape[-2:]
        masks = top_masks(resize_maps(maps[:, None], (int(height), int(width))), share)
        masks = 1 - masks if removing else masks
        shown = torch.cat([show_on_ground(self.images, masks, each) for each in self.grounds])
        scores = self.classifier.logits(shown)
        targets = ExplainedClasses(self.classes[:, None].repeat(len(self.grounds), 1))
        seen = targets.of_probabilities(scores, self.classifier.outputs.probabilities)
        left = seen.reshape(len(self.grounds), -1) / self.probabilities.clamp_min(1e-6)
        return (left if removing else (1 - left).clamp_min(-_MOST_REWARD)).mean(dim=0)


def top_masks(maps: Tensor, share: float) -> Tensor:
    """Masks that show the top of maps, with a soft edge: ``σ((m − q)/(0.3 σ_m))``.

    Args:
        maps: (n, 1, H, W).
        share: the share of the places with a mask above one half; q is that quantile of the map.

    Returns:
        (n, 1, H, W) in [0, 1], differentiable; q and the standard deviation σ_m count as constants.

    Example:
        >>> top_masks(torch.arange(4.0).reshape(1, 1, 2, 2), 0.25).round().flatten().tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    flat = maps.detach().flatten(1).sort(dim=1).values
    last = max(0, min(flat.shape[1] - 2, round((1 - share) * flat.shape[1]) - 1))
    edge = (flat[:, last] + flat[:, last + 1]) / 2
    spread = flat.std(dim=1, correction=0).clamp_min(1e-6)
    edge, spread = (each[:, None, None, None] for each in (edge, spread))
    return ((maps - edge) / (_SOFTNESS * spread)).sigmoid()


def _refined(
    task: MaskingTask, maps: Tensor, refinement: Refinement, told: Callable[[int], None]
) -> Tensor:
    """Every other step removes the top instead of keeping it."""
    mean = maps.mean(dim=(1, 2), keepdim=True)
    spread = maps.std(dim=(1, 2), keepdim=True, correction=0)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    with differentiating():
        values = ((maps - mean) / spread).clone().requires_grad_()
        optimiser = torch.optim.Adam([values], lr=refinement.rate)
        for step, share in enumerate(refinement.shares()):
            # Without the mean: a mask depends on the order of the values, not on their height.
            centred = values - values.mean(dim=(1, 2), keepdim=True)
            loss = task.loss(centred, share, removing=step % 2 == 1).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss, inputs=[values])
            optimiser.step()
            told((step + 1) * len(maps) * len(refinement.grounds))
    values = values.detach()
    return (values - values.mean(dim=(1, 2), keepdim=True)) * spread + mean
