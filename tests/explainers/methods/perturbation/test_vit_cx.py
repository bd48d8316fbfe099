from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.methods.perturbation_material import noise_images, runs_of
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.vit_cx import VitCx, cluster_maps


def scaled(mask: Tensor) -> Tensor:
    return (mask - mask.min()) / (mask.max() - mask.min())


def slow_clusters(features: Tensor, size: tuple[int, int], distance: float) -> list[list[int]]:
    """Merge the nearest two while they are near enough, comparing upsampled maps."""
    maps = [
        scaled(F.interpolate(channel[None, None].double(), size=size, mode="bilinear")[0, 0])
        for channel in features
    ]
    flat = torch.stack(maps).flatten(1)
    distances = 1 - F.cosine_similarity(flat[:, None], flat[None], dim=2)
    clusters = [[index] for index in range(len(maps))]

    def apart(first: list[int], second: list[int]) -> float:
        return max(float(distances[i, j]) for i in first for j in second)

    while len(clusters) > 1:
        nearest = min(
            (apart(a, b), i, j)
            for i, a in enumerate(clusters)
            for j, b in enumerate(clusters)
            if i < j
        )
        if nearest[0] >= distance:
            break
        clusters[nearest[1]] = sorted(clusters[nearest[1]] + clusters.pop(nearest[2]))
    return sorted(clusters)


def slow_vit_cx(
    classifier: Classifier, image: Tensor, target: int, distance: float, sigma: float, seed: int
) -> Tensor:
    features = classifier.read_features(image[None]).feature_maps[-1][0].detach()
    size = (int(image.shape[1]), int(image.shape[2]))
    noise = sigma * torch.randn(1, *image.shape, generator=torch.Generator().manual_seed(seed))

    def probability(picture: Tensor) -> float:
        return float(classifier.probabilities(picture)[0, target])

    total, coverage = torch.zeros(size), torch.zeros(size)
    clusters = slow_clusters(features, size, distance)
    for cluster in clusters:
        maps = [
            scaled(F.interpolate(features[k][None, None], size=size, mode="bilinear")[0, 0])
            for k in cluster
        ]
        mask = scaled(torch.stack(maps).sum(dim=0))
        hidden = noise * (1 - mask)
        score = (
            probability(image * mask + hidden)
            - probability(image + hidden)
            + probability(image[None])
        )
        total += score * mask
        coverage += mask
    covered = torch.where(coverage > 0, coverage, torch.ones(()))
    return total / covered / len(clusters)


@pytest.mark.parametrize("network", ["transformers vit", "timm vit, registers"])
@pytest.mark.parametrize("distance", [0.1, 0.25])
def test_it_is_the_formula(network: str, distance: float) -> None:
    classifier = TINY[network]()
    images = noise_images(classifier)
    explainer = VitCx(classifier, distance=distance, noise=0.3, seed=4)
    maps = explainer(images, [[4, 1], [0, 5]]).maps
    for image, targets, row in zip(images, [[4, 1], [0, 5]], maps, strict=True):
        for target, ours in zip(targets, row, strict=True):
            assert_close(ours, slow_vit_cx(classifier, image, target, distance, 0.3, 4), 1e-4)


def test_clusters_are_those_of_the_upsampled_maps() -> None:
    features = torch.rand(30, 3, 5)
    features[7] = features[3] * 2 - 1
    features[9] = 0.25
    living = [index for index in range(30) if index != 9]
    size = (21, 40)
    for distance in (1e-9, 0.05, 0.15):
        ours = cluster_maps(features, size, distance)
        expected = slow_clusters(features[living], size, distance)
        assert len(ours) == len(expected)
        for cluster, members in zip(ours, expected, strict=True):
            upsampled = [
                scaled(F.interpolate(features[living[k]][None, None], size=size, mode="bilinear"))
                for k in members
            ]
            total = F.interpolate(cluster[None, None], size=size, mode="bilinear")
            assert_close(total, torch.stack(upsampled).sum(dim=0), 1e-5)
    assert [3, 7] in slow_clusters(features[living], size, 0.001)


def test_features_without_any_structure_give_an_empty_mask() -> None:
    assert torch.equal(cluster_maps(torch.ones(4, 2, 3), (8, 12), 0.1), torch.zeros(1, 2, 3))


def test_progress_goes_through_all_images() -> None:
    explainer = VitCx(TINY["timm vit"]())
    steps: list[tuple[int, int]] = []
    sizes = runs_of(explainer.classifier.network)
    images = noise_images(explainer.classifier, count=3)
    explainer(images, progress=lambda done, total: steps.append((done, total)))
    total = steps[-1][1]
    assert steps[-1][0] == total and [done for done, _ in steps] == sorted(d for d, _ in steps)
    # The batch, each image, two measured passes for each image, two passes a mask.
    assert sum(sizes) == 3 + 3 + 6 + 2 * total


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": -0.1}, "distance -0.1.*0 to 2"),
        ({"noise": -1.0}, "noise -1.0.*at least 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExplainerError, match=message):
        VitCx(TINY["timm vit"](), **options)


def test_it_needs_a_vision_transformer() -> None:
    with pytest.raises(ExplainerError, match="vit_cx is not defined for Sequential.*patch tokens"):
        VitCx(tiny_cnn())
