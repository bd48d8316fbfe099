from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.methods.perturbation_material import noise_images, runs_of
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.explainers.methods.activation.recipro_cam import ReciproCam
from ttame.explainers.passes.tail_pass import TailPass
from ttame.images.preprocessing import Preprocessing


def one_tap(network: str) -> Classifier:
    classifier = TINY[network]()
    return classifier.with_taps(classifier.taps[-1:])


def untouched(outputs: Tensor, _variants: Tensor) -> Tensor:
    return outputs


@pytest.mark.parametrize("at_once", [1, 4, 100])
@pytest.mark.parametrize("network", TINY)
def test_untouched_variants_give_the_image_s_own_logits(network: str, at_once: int) -> None:
    classifier = one_tap(network)
    images = noise_images(classifier, count=3)
    tail = TailPass(classifier)
    reading, _ = tail.read(images)
    seen = []
    for chunk in tail.run(images, reading, 5, untouched, at_once=at_once):
        assert len(chunk.logits) <= at_once
        assert_close(chunk.logits, reading.logits[chunk.images], 1e-4)
        seen += list(zip(chunk.images.tolist(), chunk.variants.tolist(), strict=True))
    assert seen == [(image, variant) for image in range(3) for variant in range(5)]


@pytest.mark.parametrize(
    ("network", "alone"), [("cnn", True), ("timm resnet", True), ("timm vit", False)]
)
def test_a_residual_round_the_layer_is_noticed(network: str, alone: bool) -> None:
    assert TailPass(one_tap(network)).reads_nothing_else is alone


class Side(nn.Module):
    """A layer whose output meets that of the layer in front of it, as a test chooses."""

    def __init__(self, meet: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.side, self.meet = nn.Conv2d(8, 8, 3, 1, 1), meet
        self.head = nn.Linear(16 if meet == "joined" else 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        if self.meet == "added in place":
            features += self.side(features)
        elif self.meet == "added":
            features = features + self.side(features)
        else:
            features = torch.cat([features, self.side(features)], dim=1)
        out: Tensor = self.head(features.mean((2, 3)))
        return out


@pytest.mark.parametrize("meet", ["added", "added in place", "joined"])
def test_what_goes_round_the_layer_may_be_written_to(meet: str) -> None:
    network = Side(meet).eval()
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["side"])
    tail = TailPass(classifier)
    assert not tail.reads_nothing_else
    assert tail.goes_round_in_place is (meet != "added")
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    reading, _ = tail.read(images)

    def one_channel_off(outputs: Tensor, channels: Tensor) -> Tensor:
        outputs[torch.arange(len(outputs)), channels] = 0
        return outputs

    for chunk in tail.run(images, reading, 8, one_channel_off, at_once=5):
        for image, channel, logits in zip(chunk.images, chunk.variants, chunk.logits, strict=True):
            features = network.body(images[image][None])
            side = network.side(features)
            side[:, channel] = 0
            met = torch.cat([features, side], 1) if meet == "joined" else features + side
            assert_close(logits[None], network.head(met.mean((2, 3))).detach(), 1e-5)


def test_the_body_runs_once_a_chunk_and_the_tail_for_every_variant() -> None:
    classifier = tiny_cnn(64)
    explainer = ReciproCam(classifier)
    body = runs_of(classifier.network[0])  # type: ignore[index]
    tail = runs_of(classifier.network[-1])  # type: ignore[index]
    explainer(noise_images(classifier, count=2))
    assert body == [2, 1], "the batch, and one image for all 128 variants"
    assert tail == [2, 128]


def test_a_vision_transformer_runs_its_body_image_by_image() -> None:
    classifier = one_tap("timm vit")
    explainer = ReciproCam(classifier)
    first, last = (runs_of(classifier.network.blocks[i].mlp) for i in (0, -1))  # type: ignore[union-attr,index]
    explainer(noise_images(classifier, count=2))
    assert first == [2, 1, 1]
    assert last == [2, 16, 16]


class Twice(nn.Module):
    """One ReLU for two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, 2, 1)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(6, 6, 3, 2, 1)
        self.linear = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.second(self.relu(self.first(images))))
        return self.linear(features.mean(dim=(2, 3)))


def test_a_layer_that_runs_twice_is_replaced_at_its_last_run() -> None:
    torch.manual_seed(0)
    classifier = Classifier(Twice(), preprocessing=Preprocessing.imagenet(16), taps=["relu"])
    images = noise_images(classifier)
    tail = TailPass(classifier)
    reading, _ = tail.read(images)
    (chunk,) = tail.run(images, reading, 2, untouched, at_once=9)
    assert_close(chunk.logits, reading.logits[chunk.images], 1e-5)


def test_a_variant_is_measured_behind_the_layer_only() -> None:
    classifier = tiny_cnn(64)
    late, early = (TailPass(classifier.with_taps([layer])) for layer in ("6", "0"))
    images = noise_images(classifier)
    assert late.read(images)[1] * 2 < early.read(images)[1]
