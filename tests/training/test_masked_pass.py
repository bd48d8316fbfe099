"""The masked forward pass: of images in two spaces, and of features (L-CAM-Fm)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.training.training_material import noise_photos, quick, tiny_cnn, tiny_vit
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, TrainingError
from ttame.images.hidden_pixels import HidingGround, hiding_ground
from ttame.images.preprocessing import Preprocessing
from ttame.training.masked_pass import drawn_grounds, masked_logits, scores_on_one_ground
from ttame.training.objective import MaskedOnGrounds


@pytest.mark.parametrize("space", ["raw", "normalised"])
def test_masked_images_go_through_the_classifier(space: str) -> None:
    classifier = tiny_cnn()
    images = classifier.prepare(noise_photos(3))
    masks = torch.rand(3, 1, 4, 4)
    found = masked_logits(
        classifier, images, masks, quick(masking_space=space).objective.masked, torch.Generator()
    )
    up = F.interpolate(masks, size=(16, 16), mode="bilinear", align_corners=False)
    mean = torch.tensor(classifier.preprocessing.mean).reshape(3, 1, 1)
    std = torch.tensor(classifier.preprocessing.std).reshape(3, 1, 1)
    black = (up * (images * std + mean) - mean) / std
    expected = classifier.logits(black if space == "raw" else up * images)
    assert_close(found, expected, 1e-5)


def test_masked_features_go_through_the_rest_of_the_classifier() -> None:
    classifier = tiny_cnn()
    network = classifier.network.eval()
    layer = int(classifier.taps[-1].layer)
    images = classifier.prepare(noise_photos(3))
    masks = torch.rand(3, 1, 2, 2, requires_grad=True)
    found = masked_logits(
        classifier, images, masks, quick("l-cam-fm").objective.masked, torch.Generator()
    )
    features = network[: layer + 1](images)
    up = F.interpolate(masks, size=features.shape[2:], mode="bilinear", align_corners=False)
    assert_close(found, network[layer + 1 :](features * up), 1e-5)
    found.sum().backward()
    assert masks.grad is not None
    assert bool(masks.grad.any())
    assert not network[layer]._forward_hooks


class ChannelsLast(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.permute(0, 2, 3, 1)


class MeanOverPlaces(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(1, 2))


def test_features_with_channels_last_are_masked_by_place() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, 4, 1), ChannelsLast(), nn.LayerNorm(6), MeanOverPlaces(), nn.Linear(6, 5)
    )
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["2"])
    assert classifier.taps[0].layout == "channels last"
    images = classifier.prepare(noise_photos(2))
    masks = torch.rand(2, 1, 4, 4)
    found = masked_logits(
        classifier, images, masks, quick("l-cam-fm").objective.masked, torch.Generator()
    )
    expected = network[3:](network[:3](images) * masks.permute(0, 2, 3, 1))
    assert_close(found, expected, 1e-5)


class InATuple(nn.Module):
    def forward(self, features: Tensor) -> tuple[Tensor, None]:
        return features, None


class OutOfTheTuple(nn.Module):
    def forward(self, features: tuple[Tensor, None]) -> Tensor:
        return features[0].mean(dim=(2, 3))


def test_features_that_cannot_be_masked_are_refused() -> None:
    masks = torch.rand(2, 1, 4, 4)
    vit = tiny_vit()
    with pytest.raises(ExplainerError, match="tokens"):
        masked_logits(
            vit,
            vit.prepare(noise_photos(2)),
            masks,
            quick("l-cam-fm").objective.masked,
            torch.Generator(),
        )
    network = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), InATuple(), OutOfTheTuple(), nn.Linear(6, 5))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["1"])
    with pytest.raises(ExplainerError, match="l-cam-img"):
        masked_logits(
            classifier,
            classifier.prepare(noise_photos(2)),
            masks,
            quick("l-cam-fm").objective.masked,
            torch.Generator(),
        )


# Several grounds


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hidden_pixels_become_the_ground_that_was_drawn() -> None:
    classifier = tiny_cnn()
    images = classifier.prepare(noise_photos(3))
    masks = torch.rand(3, 1, 4, 4, generator=seeded(0))
    masked = quick("few-shot-quick", masked="grounds", grounds="blur").objective.masked
    assert masked == MaskedOnGrounds(grounds=("blur",))
    found = masked_logits(classifier, images, masks, masked, seeded(1))
    up = F.interpolate(masks, size=(16, 16), mode="bilinear", align_corners=False)
    blur = hiding_ground(images, "blur", classifier.preprocessing)
    assert_close(found, classifier.logits(up * images + (1 - up) * blur), 1e-5)


def test_every_image_draws_its_ground_whoever_asks() -> None:
    classifier = tiny_cnn()
    images = classifier.prepare(noise_photos(12))
    masked = MaskedOnGrounds()
    found = drawn_grounds(images, masked, classifier.preprocessing, seeded(2))
    kinds = [
        kind_of(image, ground, classifier) for image, ground in zip(images, found, strict=True)
    ]
    assert set(kinds) == {"black", "mean", "blur", "noise"}
    for first, last in ((0, 5), (5, 12)):
        part = drawn_grounds(images[first:last], masked, classifier.preprocessing, seeded(2), first)
        torch.testing.assert_close(part, found[first:last])
    assert not torch.equal(
        found, drawn_grounds(images, masked, classifier.preprocessing, seeded(3))
    )


def kind_of(image: Tensor, ground: Tensor, classifier: Classifier) -> str:
    """Which of the grounds without chance it is, or noise."""
    alone: tuple[HidingGround, ...] = ("black", "mean", "blur")
    for name in alone:
        if torch.allclose(
            ground, hiding_ground(image[None], name, classifier.preprocessing)[0], atol=1e-5
        ):
            return name
    return "noise"


@pytest.mark.parametrize("masked", ["image", "grounds", "features"])
def test_masks_on_one_ground_are_seen_as_by_masked_logits(masked: str) -> None:
    classifier = tiny_cnn()
    images = classifier.prepare(noise_photos(3))
    objective = quick("few-shot-quick", masked=masked).objective
    one = torch.Generator().manual_seed(4)
    behind = scores_on_one_ground(classifier, images, objective.masked, one)
    for _ in range(2):
        masks = (torch.rand(3, 1, 16, 16) < 0.5).float().requires_grad_()
        same = torch.Generator().manual_seed(4)
        found = behind(masks)
        assert_close(found, masked_logits(classifier, images, masks, objective.masked, same), 1e-6)
        assert not found.requires_grad and torch.is_grad_enabled()


def test_no_grounds_at_all_are_refused() -> None:
    with pytest.raises(TrainingError, match="no grounds"):
        MaskedOnGrounds(grounds=())
