"""SaCo: whether more salience means more influence, over pairs of groups of pixels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ttame.metrics.changed_images import probability_of_class, scores_of_versions
from ttame.metrics.map_masks import map_values, ranking_of
from ttame.metrics.measuring_batch import Probabilities, of_classes
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling
from ttame.metrics.shared_results import SharedResults

GROUPS = 10
"""Into how many groups of pixels a picture is divided, as published."""


def saco(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    groups: int = GROUPS,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """``Σ_{i<j} w_ij / Σ_{i<j} |w_ij|``, the salience-guided faithfulness coefficient.

    The pixels, ranked by the map, are cut into K groups of the same size, G_1 the most relevant
    (Wu et al., arXiv 2404.01415). ``s_i`` is the map's mean on G_i, and ``d_i`` what the class's
    probability loses when G_i alone gets the image's own mean colour. A pair i < j has the weight
    ``w_ij = s_i − s_j`` if ``d_i ≥ d_j``, and otherwise ``−(s_i − s_j)``: the map claims that G_i
    matters more, by so much, and is right or wrong. Higher is better.

    Deviations: the map's mean on a group instead of its sum, which is the same where groups are
    of exactly the same size; equal values are ordered once for all methods.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        groups: K, at least 2; the number of pixels where that is less.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of the order of equal values.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in [−1, 1]: 1 if every claim is right, −1 if every one is wrong, and 0 for a
        map that is the same everywhere and claims nothing.

    Example:
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3))[:, None]
        >>> images = torch.tensor([0.8, 0.4, 0.2, 0.6]).expand(1, 3, 1, 4)
        >>> saco(brightness, images, images[:, 0], torch.tensor([0]), groups=4)
        tensor([1.])
        >>> saco(brightness, images, -images[:, 0], torch.tensor([0]), groups=4)
        tensor([-1.])
    """
    protocol = Protocol("as asked", map_scaling=map_scaling, upsampling=upsampling, seed=seed)
    shared = shared or SharedResults()
    saliences, losses = shared.once(
        _saliences_and_losses, probabilities, images, maps, classes, groups, protocol,
        shared=shared,
    )  # fmt: skip
    return saco_of(saliences, losses)


def saco_of(saliences: Tensor, losses: Tensor) -> Tensor:
    """The coefficient of groups, from the most salient one on.

    Args:
        saliences: (B, K), not increasing along K.
        losses: (B, K), what the class's probability loses without each group.

    Returns:
        (B,) in [−1, 1].

    Example:
        >>> saco_of(torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[0.2, 0.5, 0.1]]))
        tensor([0.3333])
    """
    count = saliences.shape[1]
    first, second = torch.triu_indices(count, count, offset=1, device=saliences.device)
    claims = saliences[:, first] - saliences[:, second]
    right = losses[:, first] >= losses[:, second]
    total = claims.abs().sum(dim=1)
    agreed = torch.where(right, claims, -claims).sum(dim=1)
    return (agreed / total.masked_fill(total == 0, 1)).float()


def _saliences_and_losses(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    groups: int,
    protocol: Protocol,
    *,
    shared: SharedResults,
) -> tuple[Tensor, Tensor]:
    """(B, K) the map's mean on every group, and what the probability loses without it."""
    size = (int(images.shape[2]), int(images.shape[3]))
    values = map_values(maps, size, protocol).flatten(1)
    ranking = shared.once(ranking_of, maps, size, protocol)
    members = ranking.tensor_split(min(groups, ranking.shape[1]), dim=1)
    saliences = torch.stack([values.gather(1, group).mean(dim=1) for group in members], dim=1)
    versions = _without_each_group(images, members)
    after = scores_of_versions(probabilities, versions, classes, probability_of_class) / 100
    before = of_classes(shared.once(probabilities, images), classes)
    return saliences, before[:, None] - after


def _without_each_group(images: Tensor, members: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """The images, with each group of pixels in turn in the image's own mean colour."""
    colours = images.mean(dim=(2, 3), keepdim=True)
    for group in members:
        gone = torch.zeros_like(images[:, 0], dtype=torch.bool)
        gone.flatten(1).scatter_(1, group, True)
        yield torch.where(gone[:, None], colours, images)


SACO = Metric(
    name="saco",
    title="SaCo",
    better="higher",
    unit="",
    paper="Wu et al., arXiv 2404.01415",
    measures=f"whether, among {GROUPS} groups of pixels, removing the more relevant one costs the "
    "class more, weighted by how much more relevant the map says it is",
    cost=f"{GROUPS} forward",
    function=saco,
    bounds=(-1.0, 1.0),
)
