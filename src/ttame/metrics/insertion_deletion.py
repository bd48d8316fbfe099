"""Insertion and deletion: reveal or delete pixels in order, and integrate the probability."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ttame.metrics.changed_images import probability_of_class, scores_of_versions
from ttame.metrics.grounds import Ground, ground_images
from ttame.metrics.map_masks import ranking_of
from ttame.metrics.measuring_batch import Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.pixel_ranking import ranks
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling
from ttame.metrics.shared_results import SharedResults

Change = Literal["insertion", "deletion"]

_BLUR = Protocol("rise").blur
_STEP = Protocol("rise").step
_CURVE_PERCENTS = tuple(range(0, 101, 5))


def insertion(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    step: int = _STEP,
    blur: tuple[int, float] = _BLUR,
    ground: Ground = "blur",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> Tensor:
    """The area under the class's probability while pixels replace a blurred image.

    Starting from the blurred image, the most relevant pixels are shown ``step`` at a time. With
    s_0 … s_n the probabilities after each step, ``AUC = (Σ s_i − (s_0 + s_n)/2) / n`` (RISE,
    Petsiuk et al., arXiv 1806.07421). Higher is better. In percent, like the other metrics;
    papers print it in [0, 1]. Other grounds than the blurred image are ours: a map that is fitted
    to one of them is not to the others.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        step: pixels at a time at 224x224; for images of another area in proportion.
        blur: (kernel size, sigma) in pixels.
        ground: what is seen before the pixels are: see
            :func:`ttame.metrics.grounds.ground_images`.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of the order of equal values, and of noise.
        numbers: the numbers of the images in the data set, on which noise depends; 0, 1, … if not
            given.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> import torch
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(2, 3, 8, 8)
        >>> maps = torch.arange(64.0).reshape(1, 8, 8).repeat(2, 1, 1)
        >>> classes = torch.tensor([0, 1])
        >>> insertion(bright, images, maps, classes)
        tensor([67.1770, 32.8230])
    """
    protocol = Protocol(
        "as asked", step=step, blur=blur, map_scaling=map_scaling, upsampling=upsampling, seed=seed
    )
    return _area(
        _curve(probabilities, images, maps, classes, protocol, "insertion", ground, numbers, shared)
    )


def deletion(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    step: int = _STEP,
    blur: tuple[int, float] = _BLUR,
    ground: Ground = "mean",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> Tensor:
    """The area under the class's probability while pixels are set to 0.

    As :func:`insertion`, starting from the image; pixels become 0 after normalisation, which is
    the mean colour, as published, or what another ``ground`` has there. Lower is better.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> def share_left(images):
        ...     left = images.mean(dim=(1, 2, 3))
        ...     return torch.stack([left, 1 - left], dim=1)
        >>> images = torch.ones(1, 3, 2, 2)
        >>> maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
        >>> deletion(share_left, images, maps, torch.tensor([0]))
        tensor([50.])
    """
    protocol = Protocol(
        "as asked", step=step, blur=blur, map_scaling=map_scaling, upsampling=upsampling, seed=seed
    )
    return _area(
        _curve(probabilities, images, maps, classes, protocol, "deletion", ground, numbers, shared)
    )


def insertion_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    step: int = _STEP,
    blur: tuple[int, float] = _BLUR,
    ground: Ground = "blur",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> dict[float, Tensor]:
    """The curve whose area :func:`insertion` is, at every twentieth of the pixels.

    Arguments as for :func:`insertion`.

    Returns:
        Share of the pixels that are shown, from 0 to 1, to (B,) float32 in percent, in [0, 100];
        interpolated linearly between the steps.

    Example:
        >>> def share_left(images):
        ...     left = images.mean(dim=(1, 2, 3))
        ...     return torch.stack([left, 1 - left], dim=1)
        >>> maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
        >>> curve = insertion_curve(share_left, torch.ones(1, 3, 2, 2), maps, torch.tensor([0]))
        >>> len(curve), curve[1.0]
        (21, tensor([100.]))
    """
    protocol = Protocol(
        "as asked", step=step, blur=blur, map_scaling=map_scaling, upsampling=upsampling, seed=seed
    )
    curve = _curve(
        probabilities, images, maps, classes, protocol, "insertion", ground, numbers, shared
    )
    return _at_percents(curve, (int(images.shape[2]), int(images.shape[3])), protocol)


def deletion_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    step: int = _STEP,
    blur: tuple[int, float] = _BLUR,
    ground: Ground = "mean",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> dict[float, Tensor]:
    """The curve whose area :func:`deletion` is, at every twentieth of the pixels.

    Arguments as for :func:`deletion`, values as from :func:`insertion_curve`.

    Example:
        >>> def share_left(images):
        ...     left = images.mean(dim=(1, 2, 3))
        ...     return torch.stack([left, 1 - left], dim=1)
        >>> maps = torch.tensor([[[4.0, 3.0], [2.0, 1.0]]])
        >>> curve = deletion_curve(share_left, torch.ones(1, 3, 2, 2), maps, torch.tensor([0]))
        >>> curve[0.0], curve[0.25]
        (tensor([100.]), tensor([75.]))
    """
    protocol = Protocol(
        "as asked", step=step, blur=blur, map_scaling=map_scaling, upsampling=upsampling, seed=seed
    )
    curve = _curve(
        probabilities, images, maps, classes, protocol, "deletion", ground, numbers, shared
    )
    return _at_percents(curve, (int(images.shape[2]), int(images.shape[3])), protocol)


def changing_images(
    images: Tensor,
    maps: Tensor,
    protocol: Protocol,
    change: Change,
    *,
    ground: Ground | None = None,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> Iterator[Tensor]:
    """The images before, during and after insertion or deletion.

    Args:
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        protocol: its step, blur, scaling of maps and seed.
        change: which of the two.
        ground: what is seen where nothing of the image is; if not given, the blurred image for
            insertion and the mean colour for deletion, as published.
        numbers: the numbers of the images in the data set, on which noise depends; 0, 1, … if not
            given.
        shared: what other metrics of the same images have computed.

    Yields:
        (B, 3, H, W), n + 1 times for n steps.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    ranking = (shared or SharedResults()).once(ranking_of, maps, size, protocol)
    places = ranks(ranking).reshape(-1, 1, *size)
    chosen: Ground = ground or ("blur" if change == "insertion" else "mean")
    bare = ground_images(images, chosen, blur=protocol.blur, seed=protocol.seed, numbers=numbers)
    start, end = (bare, images) if change == "insertion" else (images, bare)
    step = _pixels_a_step(size, protocol)
    for index in range(_steps(size, protocol) + 1):
        yield torch.where(places < index * step, end, start)


def _pixels_a_step(size: tuple[int, int], protocol: Protocol) -> int:
    return max(1, round(protocol.step * size[0] * size[1] / 224**2))


def _steps(size: tuple[int, int], protocol: Protocol) -> int:
    return math.ceil(size[0] * size[1] / _pixels_a_step(size, protocol))


def _curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    protocol: Protocol,
    change: Change,
    ground: Ground,
    numbers: Sequence[int] | None,
    shared: SharedResults | None,
) -> Tensor:
    """(B, n + 1) probabilities in percent."""
    shared = shared or SharedResults()
    places = tuple(range(len(images)) if numbers is None else numbers)
    return shared.once(
        _scores, probabilities, images, maps, classes, protocol, change, ground, places,
        shared=shared,
    )  # fmt: skip


def _scores(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    protocol: Protocol,
    change: Change,
    ground: Ground,
    numbers: tuple[int, ...],
    *,
    shared: SharedResults,
) -> Tensor:
    versions = changing_images(
        images, maps, protocol, change, ground=ground, numbers=numbers, shared=shared
    )
    return scores_of_versions(probabilities, versions, classes, probability_of_class)


def _area(curve: Tensor) -> Tensor:
    """``(Σ s_i − (s_0 + s_n)/2) / n``: (B, n + 1) to (B,)."""
    return (curve.sum(dim=1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)


def _at_percents(curve: Tensor, size: tuple[int, int], protocol: Protocol) -> dict[float, Tensor]:
    """The curve at fixed shares of the pixels, interpolated linearly between its steps."""
    pixels, step = size[0] * size[1], _pixels_a_step(size, protocol)
    points = {}
    for place in _CURVE_PERCENTS:
        position = min(place / 100 * pixels, pixels)
        before = min(int(position // step), curve.shape[1] - 2)
        width = min(step, pixels - before * step)
        weight = (position - before * step) / width
        points[place / 100] = torch.lerp(curve[:, before], curve[:, before + 1], weight)
    return points


_PAPER = "Petsiuk et al., arXiv 1806.07421"
_COST = "1 forward per step, 29 as published"
_NO_BLUR = {"blur": _BLUR}
"""Nothing is blurred, so that no protocol's blur is read."""

INSERTION = Metric(
    name="insertion",
    title="Insertion",
    better="higher",
    unit="%",
    paper=_PAPER,
    measures="the area under the class's probability while the most relevant pixels are put into "
    "a blurred image; papers print it in [0, 1]",
    cost=_COST,
    function=insertion,
    fixed={"ground": "blur"},
    curve=insertion_curve,
)

DELETION = Metric(
    name="deletion",
    title="Deletion",
    better="lower",
    unit="%",
    paper=_PAPER,
    measures="the area under the class's probability while the most relevant pixels are set to "
    "the mean colour; papers print it in [0, 1]",
    cost=_COST,
    function=deletion,
    fixed={"ground": "mean", **_NO_BLUR},
    curve=deletion_curve,
)

INSERTION_ON_MEAN, INSERTION_ON_NOISE = (
    dataclasses.replace(
        INSERTION,
        name=f"insertion_on_{ground}",
        title=f"Insertion on {words}",
        paper=f"{_PAPER}; the ground is ours",
        measures="the area under the class's probability while the most relevant pixels are put "
        f"on {words}",
        cost="1 forward per step",
        fixed={"ground": ground, **_NO_BLUR},
    )
    for ground, words in (("mean", "the mean colour"), ("noise", "noise"))
)

DELETION_TO_BLUR, DELETION_TO_NOISE = (
    dataclasses.replace(
        DELETION,
        name=f"deletion_to_{ground}",
        title=f"Deletion to {words}",
        paper=f"{_PAPER}; the ground is ours",
        measures=f"the area under the class's probability while the most relevant pixels are "
        f"replaced by {words}",
        cost="1 forward per step",
        fixed={"ground": ground, **fixed},
    )
    for ground, words, fixed in (("blur", "the blurred image", {}), ("noise", "noise", _NO_BLUR))
)
