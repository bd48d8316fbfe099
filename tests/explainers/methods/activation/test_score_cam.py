from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.explainers.methods.perturbation_material import (
    IMAGES_OF_FOLDING,
    golden_classifier,
    noise_images,
    runs_of,
    targets_of,
)
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, TapError
from ttame.explainers.contract.memory_budget import ActivationMeter
from ttame.explainers.methods.activation.score_cam import ScoreCam


def slow_score_cam(
    classifier: Classifier, image: Tensor, target: int, *, score: str = "logit"
) -> Tensor:
    """One channel at a time, (h, w), before rectification."""
    with torch.no_grad():
        features = classifier.read_features(image[None]).feature_maps[-1][0]
        scores = []
        for channel in features:
            mask = F.interpolate(channel[None, None], size=image.shape[1:], mode="bilinear")[0, 0]
            low, high = float(mask.min()), float(mask.max())
            mask = (mask - low) / (high - low) if high > low else torch.zeros_like(mask)
            logits = classifier.logits((image * mask)[None])[0]
            scores.append((logits.softmax(0) if score == "probability" else logits)[target])
        exponentials = torch.stack(scores).double().exp()
        weights = exponentials / exponentials.sum()
        return sum(w * a.double() for w, a in zip(weights, features, strict=True)).float()


@pytest.mark.parametrize("network", ["cnn", "transformers vit", "timm swin"])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_it_is_the_formula(network: str, score: str) -> None:
    classifier = TINY[network]()
    images = noise_images(classifier)
    explainer = ScoreCam(classifier, score=score, rectified=False)  # type: ignore[arg-type]
    maps = explainer(images, [[4, 1], [0, 5]]).maps
    for image, targets, row in zip(images, [[4, 1], [0, 5]], maps, strict=True):
        for target, ours in zip(targets, row, strict=True):
            assert_close(ours, slow_score_cam(classifier, image, target, score=score), 1e-4)
    rectified = ScoreCam(classifier, score=score)(images, [[4, 1], [0, 5]])  # type: ignore[arg-type]
    assert_close(rectified.maps, maps.relu(), 1e-6)


@pytest.mark.parametrize(
    ("name", "layer"), [("cams_cnn", "relu3"), ("cams_cnn_early", "relu2"), ("cams_vit", "")]
)
def test_golden_tensors(name: str, layer: str) -> None:
    golden = Golden(name)
    classifier = golden_classifier(golden, layer)
    explainer = ScoreCam(classifier, align_corners=True, rectified=False)
    maps = explainer(golden["input.images"], targets_of(golden)).maps[:, 0]
    assert_close(maps, golden["output.scorecam.raw"], 2e-5)


def test_constant_channels_share_one_pass() -> None:
    classifier = tiny_cnn()
    with torch.no_grad():
        classifier.network[5].weight[3:11] = 0  # type: ignore[index,union-attr]
        classifier.network[5].bias[3:7] = 0.5  # type: ignore[index,union-attr]
        classifier.network[5].bias[7:11] = -0.5  # type: ignore[index,union-attr]
    images = noise_images(classifier, count=1)
    sizes = runs_of(classifier.network)
    maps = ScoreCam(classifier, rectified=False)(images, 2).maps[0, 0]
    alive = 16 - 8
    see_that_the_layer_matters = 1 + 3
    # The image, the empty mask, the measured item, and the others.
    assert sum(sizes) <= see_that_the_layer_matters + 1 + 1 + 1 + alive + IMAGES_OF_FOLDING
    assert_close(maps, slow_score_cam(classifier, images[0], 2), 1e-5)


def test_masks_are_never_there_all_at_once() -> None:
    classifier = tiny_cnn(64)
    explainer = ScoreCam(classifier)
    images = noise_images(classifier)
    explainer(images, memory_budget=1)
    with ActivationMeter() as meter:
        explainer(images, memory_budget=1)
    with ActivationMeter() as one:
        classifier.logits(images)
    # Half of the 32 masks with their images would take more.
    assert meter.peak < one.peak + 16 * 4 * 64 * 64 * 4


def test_progress_and_layer() -> None:
    classifier = tiny_cnn()
    explainer = ScoreCam(classifier, layer="4")
    steps: list[tuple[int, int]] = []
    images = noise_images(classifier)
    explanation = explainer(images, progress=lambda done, total: steps.append((done, total)))
    assert explanation.maps.shape == (2, 1, 8, 8)
    assert steps[-1][0] == steps[-1][1] > 12
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert explainer.provenance()["layer"] == "4"


def test_bad_options() -> None:
    with pytest.raises(ExplainerError, match="score 'odds'.*logit or probability"):
        ScoreCam(tiny_cnn(), score="odds")  # type: ignore[arg-type]
    with pytest.raises(TapError, match="layer 'layr'"):
        ScoreCam(tiny_cnn(), layer="layr")
