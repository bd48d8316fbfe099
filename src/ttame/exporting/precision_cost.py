"""What a network of fewer bits costs: in predictions, in maps, and in how faithful they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.exporting.comparison import Comparison
from ttame.metrics.average_drop import average_drop
from ttame.metrics.map_correlation import pearson_correlation


@torch.no_grad()
def precision_cost(comparisons: Sequence[Comparison], classifier: Classifier) -> dict[str, float]:
    """What a file costs against PyTorch in float32, on average over images.

    Args:
        comparisons: of at least one image.
        classifier: in float32; it judges both maps of the file's most probable class.

    Returns:
        ``same top-1``: the share of images with the same most probable class; ``map correlation``:
        of the maps of the same classes; ``average drop``: of PyTorch's maps, in percent; and
        ``change in average drop``: that of the file's maps less that of PyTorch's.
    """
    same: list[Tensor] = []
    correlations: list[Tensor] = []
    before: list[Tensor] = []
    after: list[Tensor] = []
    for comparison in comparisons:
        expected = comparison.expected.maps.cpu()
        found = torch.from_numpy(comparison.found["maps"]).float()
        top = torch.from_numpy(comparison.found["logits"]).argmax(dim=1)
        same.append(top == comparison.expected.logits.cpu().argmax(dim=1))
        correlations.append(pearson_correlation(expected.flatten(0, 1), found.flatten(0, 1)))
        images = comparison.images(classifier)
        classes = torch.from_numpy(comparison.found["classes"])[:, 0].to(images.device)
        for maps, drops in ((expected, before), (found, after)):
            first = maps[:, 0].to(images.device)
            drops.append(
                average_drop(
                    classifier.probabilities, images, first, classes, classifier.preprocessing
                )
            )
    costs = {
        "same top-1": same,
        "map correlation": correlations,
        "average drop": before,
        "change in average drop": after,
    }
    means = {name: float(torch.cat(values).float().mean()) for name, values in costs.items()}
    means["change in average drop"] -= means["average drop"]
    return means
