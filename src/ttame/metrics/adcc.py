"""ADCC: Average Drop, coherency and complexity in one number."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
from torch import Tensor

from ttame.metrics.average_drop import drop_of
from ttame.metrics.map_correlation import pearson_correlation
from ttame.metrics.map_masks import map_values, masked_confidence, masked_images
from ttame.metrics.measuring_batch import Explain, MeasuringBatch, Probabilities
from ttame.metrics.metric import Column, Metric
from ttame.metrics.protocol import Protocol
from ttame.preprocessing import Preprocessing

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

PAPER = "Poppi et al., arXiv 2104.10252"
_PUBLISHED = Protocol("as published", masked_in="normalised", map_scaling="pixels")


def adcc(
    probabilities: Probabilities,
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    protocol: Protocol = _PUBLISHED,
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
        probabilities: the classifier's softmax output.
        explain: the method that made the maps; it explains the masked images.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        protocol: how maps become masks, and where these multiply.

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
    batch = MeasuringBatch(
        probabilities, images, maps, classes, preprocessing, explain, tuple(range(len(images)))
    )
    return _measure_adcc(batch, protocol)["adcc"]


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


def map_mean(maps: Tensor) -> Tensor:
    """Complexity: ``100 · mean |S|``.

    Args:
        maps: (B, H, W) in [0, 1].

    Returns:
        (B,) in percent.

    Example:
        >>> import torch
        >>> map_mean(torch.tensor([[[0.0, 0.5], [0.5, 1.0]]]))
        tensor([50.])
    """
    return 100 * maps.abs().mean(dim=(1, 2))


def _soft(protocol: Protocol) -> Protocol:
    return dataclasses.replace(protocol, mask="soft")


def _coherency(batch: MeasuringBatch, protocol: Protocol) -> Tensor:
    """``100 · (1 + Pearson(S(x), S(x ⊙ S))) / 2``, (B,)."""
    soft = _soft(protocol)

    def compute() -> Tensor:
        of_masked = batch.explain(masked_images(batch, 1.0, soft), batch.classes)
        correlation = pearson_correlation(
            map_values(batch.maps, batch.size, soft), map_values(of_masked, batch.size, soft)
        )
        return 50 * (1 + correlation)

    return batch.once(("coherency", soft.hash), compute)


def _complexity(batch: MeasuringBatch, protocol: Protocol) -> Tensor:
    return map_mean(map_values(batch.maps, batch.size, protocol))


def _drop(batch: MeasuringBatch, protocol: Protocol) -> Tensor:
    after = masked_confidence(batch, 1.0, _soft(protocol))
    return drop_of(batch.before, after)


def _measure_adcc(batch: MeasuringBatch, protocol: Protocol) -> dict[str, Tensor]:
    coherency, complexity = _coherency(batch, protocol), _complexity(batch, protocol)
    drop = _drop(batch, protocol)
    return {
        "adcc": harmonic_mean(coherency, complexity, drop),
        "adcc.coherency": coherency,
        "adcc.complexity": complexity,
        "adcc.drop": drop,
    }


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
    measure=_measure_adcc,
    columns=_adcc_columns,
)

COHERENCY = Metric(
    name="coherency",
    title="Coherency",
    better="higher",
    unit="%",
    paper=PAPER,
    measures="how well the map of the masked image correlates with that of the image",
    cost="1 map of the masked image",
    measure=lambda batch, protocol: {"coherency": _coherency(batch, protocol)},
)

COMPLEXITY = Metric(
    name="complexity",
    title="Complexity",
    better="lower",
    unit="%",
    paper=PAPER,
    measures="the map's mean value: how much of the picture it shows",
    cost="none",
    measure=lambda batch, protocol: {"complexity": _complexity(batch, protocol)},
)
