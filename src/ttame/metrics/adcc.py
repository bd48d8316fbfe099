"""ADCC: Average Drop, coherency and complexity in one number."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.average_drop import average_drop, mean_map
from ttame.metrics.map_correlation import pearson_correlation
from ttame.metrics.map_masks import map_values, masked_images
from ttame.metrics.measuring_batch import Explain, Probabilities
from ttame.metrics.metric import Column, Metric
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling
from ttame.metrics.shared_results import SharedResults

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

PAPER = "Poppi et al., arXiv 2104.10252"
_OPTIONS = {"space": "masked_in"}


def adcc(
    probabilities: Probabilities,
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    space: MaskingSpace = "normalised",
    map_scaling: MapScaling = "pixels",
    upsampling: Upsampling = "bilinear",
    shared: SharedResults | None = None,
) -> Tensor:
    """The harmonic mean of coherency, 1 − complexity and 1 − Average Drop of every image.

    ``3 / (1/Coh + 1/(1 − Compl) + 1/(1 − AD))`` (Poppi et al., arXiv 2104.10252). Higher is
    better. It punishes sharp maps with a high drop and rewards diffuse ones. The published
    tables combine the *means* of the three over all images instead, as :func:`harmonic_mean`
    does; the authors' code averages what this function returns.

    Deviations: drop and coherency are those of the explained class, where the authors' code
    takes the image's highest probability and the most probable class. Masks are always soft: a
    binary one that keeps everything would change nothing.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        explain: the method that made the maps; it explains the masked images.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        space: where masks multiply: ``"normalised"``, as published, gives removed pixels the mean
            colour; ``"raw"`` makes them black.
        map_scaling: ``"pixels"``, as published, scales maps to [0, 1] after they are resized,
            ``"grid"`` before.
        upsampling: how maps are enlarged to the images' size.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in percent, in [0, 100]; 0 where one of the three is at its worst.

    Example:
        >>> import torch
        >>> def probabilities(images):
        ...     return torch.full((len(images), 2), 0.5)
        >>> left_half = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> adcc(probabilities, lambda images, classes: left_half, torch.rand(1, 3, 2, 2),
        ...      left_half, torch.tensor([0]), Preprocessing.imagenet(2))
        tensor([75.])
    """
    shared = shared or SharedResults()
    spread = complexity(images, maps, map_scaling=map_scaling, upsampling=upsampling)
    coheres = coherency(
        explain, images, maps, classes, preprocessing, space=space,
        map_scaling=map_scaling, upsampling=upsampling, shared=shared,
    )  # fmt: skip
    drop = masked_drop(
        probabilities, images, maps, classes, preprocessing, space=space,
        map_scaling=map_scaling, upsampling=upsampling, shared=shared,
    )  # fmt: skip
    return harmonic_mean(coheres, spread, drop)


def coherency(
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    space: MaskingSpace = "normalised",
    map_scaling: MapScaling = "pixels",
    upsampling: Upsampling = "bilinear",
    shared: SharedResults | None = None,
) -> Tensor:
    """``100 · (1 + Pearson(S(x), S(x ⊙ S))) / 2``: whether the masked image has the same map.

    One of the three parts of ADCC (Poppi et al., arXiv 2104.10252); arguments and deviations as
    for :func:`adcc`. Higher is better.

    Returns:
        (B,) float32 in percent, in [0, 100]; 50 where a map is constant.

    Example:
        >>> import torch
        >>> left_half = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> coherency(lambda images, classes: 1 - left_half, torch.rand(1, 3, 2, 2), left_half,
        ...           torch.tensor([0]), Preprocessing.imagenet(2))
        tensor([0.])
    """
    protocol = Protocol("as asked", masked_in=space, map_scaling=map_scaling, upsampling=upsampling)
    shared = shared or SharedResults()
    return shared.once(_coherency, explain, images, maps, classes, preprocessing, protocol)


def complexity(
    images: Tensor,
    maps: Tensor,
    *,
    map_scaling: MapScaling = "pixels",
    upsampling: Upsampling = "bilinear",
) -> Tensor:
    """``100 · mean S``: how much of the picture the map shows.

    One of the three parts of ADCC (Poppi et al., arXiv 2104.10252). Lower is better.

    Args:
        images: (B, 3, H, W), for their size.
        maps: (B, h, w) raw maps.
        map_scaling: as for :func:`adcc`.
        upsampling: how maps are enlarged to the images' size.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> import torch
        >>> complexity(torch.rand(1, 3, 2, 2), torch.tensor([[[1.0, 2.0], [2.0, 3.0]]]))
        tensor([50.])
    """
    protocol = Protocol("as asked", map_scaling=map_scaling, upsampling=upsampling)
    size = (int(images.shape[2]), int(images.shape[3]))
    return mean_map(map_values(maps, size, protocol))


def masked_drop(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    space: MaskingSpace = "normalised",
    map_scaling: MapScaling = "pixels",
    upsampling: Upsampling = "bilinear",
    shared: SharedResults | None = None,
) -> Tensor:
    """Average Drop as ADCC takes it: with soft masks that keep all pixels.

    Arguments as for :func:`adcc`.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> import torch
        >>> def bright(images):
        ...     return images.mean(dim=(2, 3))
        >>> left_half = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> masked_drop(bright, torch.ones(1, 3, 2, 2), left_half, torch.tensor([0]),
        ...             Preprocessing.imagenet(2))
        tensor([50.])
    """
    return average_drop(
        probabilities, images, maps, classes, preprocessing, space=space,
        map_scaling=map_scaling, upsampling=upsampling, shared=shared,
    )  # fmt: skip


def harmonic_mean(coherency: Numbers, complexity: Numbers, drop: Numbers) -> Numbers:
    """ADCC of three numbers in percent, element by element; 0 where a number is at its worst.

    Example:
        >>> score_cam = harmonic_mean(np.array([93.83]), np.array([20.27]), np.array([26.13]))
        >>> score_cam.round(2)  # on VGG-16; 81.66 was published
        array([81.66])
    """
    simple, faithful = 100 - complexity, 100 - drop
    pairs = coherency * simple + simple * faithful + faithful * coherency
    combined: Numbers = 3 * coherency * simple * faithful / (pairs + (pairs == 0))
    return combined


def _coherency(
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
) -> Tensor:
    size = (int(images.shape[2]), int(images.shape[3]))
    of_masked = explain(masked_images(images, maps, preprocessing, 1.0, protocol), classes)
    correlation = pearson_correlation(
        map_values(maps, size, protocol), map_values(of_masked, size, protocol)
    )
    return 50 * (1 + correlation)


def _adcc_columns(metric: Metric, protocol: Protocol) -> tuple[Column, ...]:
    if protocol.adcc_average == "per image":
        return (Column(metric.name, metric.title),)
    parts = ("adcc.coherency", "adcc.complexity", "adcc.drop")
    return (
        Column(
            metric.name,
            metric.title,
            parts=parts,
            combine=lambda means: harmonic_mean(*(means[part] for part in parts)),
        ),
    )


ADCC = Metric(
    name="adcc",
    title="ADCC",
    better="higher",
    unit="%",
    paper=PAPER,
    measures="the harmonic mean of coherency, 1 − complexity and 1 − Average Drop",
    cost="1 forward and 1 map of the masked image",
    function=adcc,
    options=_OPTIONS,
    also={
        "adcc.coherency": coherency,
        "adcc.complexity": complexity,
        "adcc.drop": masked_drop,
    },
    columns=_adcc_columns,
    columns_read=("adcc_average",),
)

COHERENCY = Metric(
    name="coherency",
    title="Coherency",
    better="higher",
    unit="%",
    paper=PAPER,
    measures="how well the map of the masked image correlates with that of the image",
    cost="1 map of the masked image",
    function=coherency,
    options=_OPTIONS,
)

COMPLEXITY = Metric(
    name="complexity",
    title="Complexity",
    better="lower",
    unit="%",
    paper=PAPER,
    measures="the map's mean value: how much of the picture it shows",
    cost="none",
    function=complexity,
)
