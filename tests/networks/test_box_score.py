"""The score of a box."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.box_score import ScoreOfBox, overlaps_with


class Grid(nn.Module):
    """A box of 4 pixels' side in every cell, with label 1."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(6, 1, 4, 4)
        self.threshold = threshold

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        scores = self.head(self.features(images)).sigmoid().flatten(1)
        side = images.shape[3] // 4
        corners = [(4 * (i % side), 4 * (i // side)) for i in range(scores.shape[1])]
        boxes = torch.tensor([[x, y, x + 4, y + 4] for x, y in corners]).float()
        return [
            {"boxes": boxes[keep], "scores": row[keep], "labels": keep.nonzero()[:, 0] * 0 + 1}
            for row in scores
            for keep in [row > self.threshold]
        ]


def classifier(score: nn.Module, **more: Any) -> Classifier:
    pixels = Preprocessing((8, 8), (8, 8), (0.0,) * 3, (1.0,) * 3)
    return Classifier(score, preprocessing=pixels, outputs="sigmoid probabilities", **more)


def test_overlap_is_intersection_over_union() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [2, 0, 6, 4], [5, 5, 8, 8]])
    assert overlaps_with((0, 0, 4, 4), boxes).tolist() == pytest.approx([1, 8 / 24, 0])


def test_the_score_of_a_box_that_is_found_and_grad_cam_of_it() -> None:
    detector, images = Grid(), torch.rand(2, 3, 8, 8)
    scores = torch.stack([each["scores"] for each in detector(images)])
    assert torch.equal(ScoreOfBox(detector, (4, 0, 8, 4), 1)(images), scores[:, 1:2])
    assert ScoreOfBox(detector, (4, 0, 8, 4), 2)(images).tolist() == [[0.0], [0.0]]
    shifted = torch.stack([scores[:, 0] / 3, scores[:, 1] / 3]).max(dim=0).values
    assert torch.allclose(ScoreOfBox(detector, (2, 0, 6, 4))(images)[:, 0], shifted)
    found = classifier(ScoreOfBox(detector, (4, 0, 8, 4), 1), taps=["network.features.1"])
    assert torch.allclose(found.probabilities(images), scores[:, 1:2], atol=1e-6)
    features = detector.features(images).detach().requires_grad_()
    odds = detector.head(features)[:, 0, 0, 1].sum()
    (slopes,) = torch.autograd.grad(odds, features)
    expected = (slopes.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
    maps = make_explainer("grad_cam", found)(images, 0).maps[:, 0]
    assert torch.allclose(maps, expected, atol=1e-4) and float(expected.max()) > 0


def test_a_detector_that_finds_nothing_in_noise_is_no_reason_to_refuse() -> None:
    found = classifier(ScoreOfBox(Grid(threshold=2.0), (4, 0, 8, 4), 1))
    assert found.logits(torch.rand(1, 3, 8, 8)).isfinite().all()


def test_what_is_no_detector_or_no_box_is_refused() -> None:
    with pytest.raises(ClassifierError, match=r"returns a tensor of shape \(1, 3, 8, 8\)"):
        ScoreOfBox(nn.ReLU(), (0, 0, 4, 4))(torch.zeros(1, 3, 8, 8))
    for box in ((4, 0, 0, 4), (0, 0, 4), None):
        with pytest.raises(ClassifierError, match="left, top, right, bottom"):
            ScoreOfBox(Grid(), box)  # type: ignore[arg-type]
