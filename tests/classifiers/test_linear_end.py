"""Where the logits are linear in pooled features, on every kind of network."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.tiny_networks import CLASSES, TINY, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import (
    Pooling,
    find_class_layer,
    find_linear_end,
    linear_layer,
    scoring_in_the_last_layer,
)
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.shared_head_inputs import find_inputs
from ttame.images.preprocessing import Preprocessing


def tiny_convnext() -> Classifier:
    """Its norm stands between the pooling and the linear layer."""
    return tiny_timm("convnext_atto", 64, depths=(1, 1, 1, 1), dims=(8, 12, 16, 24))


def tiny_mobilenet() -> Classifier:
    """A convolution and an activation stand between the pooling and the linear layer."""
    return tiny_timm("mobilenetv3_small_050", 64)


def tiny_fully_convolutional() -> Classifier:
    """Its classes are channels of a wide convolution, and its scores are not their averages."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(12, CLASSES, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Tanh(), nn.Flatten(),
    )  # fmt: skip
    return Classifier(network, preprocessing=Preprocessing.imagenet(32))


def tiny_vgg() -> Classifier:
    """Two linear layers on the flattened features."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 20), nn.ReLU(), nn.Linear(20, CLASSES),
    )  # fmt: skip
    return Classifier(network, preprocessing=Preprocessing.imagenet(32))


POOLED: dict[str, tuple[Pooling, str]] = {
    "cnn": ("average", "10"),
    "timm resnet": ("average", "fc"),
    "timm swin": ("average", "head.fc"),
    "timm vit": ("class token", "head"),
    "timm vit, registers": ("class token", "head"),
    "timm vit, patches pooled": ("average", "head"),
    "torchvision vit": ("class token", "heads.head"),
    "transformers vit": ("class token", "classifier"),
}
NOT_POOLED: dict[str, tuple[Callable[[], Classifier], str | None]] = {
    "two heads": (TINY["timm vit, distilled"], "head_dist"),
    "mobilenet": (tiny_mobilenet, "classifier"),
    "vgg": (tiny_vgg, "7"),
}


def noise(classifier: Classifier, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(images, 3, *classifier.preprocessing.input_size, generator=generator)


def test_every_kind_of_network_is_asked() -> None:
    assert POOLED.keys() | {"timm vit, distilled"} == TINY.keys()


@pytest.mark.parametrize("kind", POOLED)
def test_the_logits_are_linear_in_what_is_pooled(kind: str) -> None:
    classifier = TINY[kind]()
    end = find_linear_end(classifier)
    assert end is not None
    assert (end.pooling, end.layer) == POOLED[kind]
    assert find_class_layer(classifier) == end.layer
    reading = classifier.with_taps([end.features]).read_features(noise(classifier))
    (features,), (token,) = reading.feature_maps, reading.class_tokens
    pooled = features.mean(dim=(2, 3)) if end.pooling == "average" else token
    layer = linear_layer(classifier, end.layer)
    assert_close(layer(pooled), reading.logits, 1e-4)
    assert torch.equal(end.weights(classifier), layer.weight)


@pytest.mark.parametrize("kind", NOT_POOLED)
def test_what_is_not_linear_in_pooled_features_has_no_end(kind: str) -> None:
    make, layer = NOT_POOLED[kind]
    classifier = make()
    assert find_linear_end(classifier) is None
    assert find_class_layer(classifier) == layer
    if layer is not None:
        assert len(linear_layer(classifier, layer).weight) == CLASSES


def convolutional(*head: nn.Module) -> Classifier:
    torch.manual_seed(1)
    body = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()]
    network = nn.Sequential(*body, *head).eval()
    outputs = "binary" if any(getattr(each, "out_channels", 0) == 1 for each in head) else "softmax"
    return Classifier(network, preprocessing=Preprocessing.imagenet(32), outputs=outputs)


def pool() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


@pytest.mark.parametrize("way", ["before", "after", "one logit"])
def test_a_convolution_that_gives_classes_is_a_linear_layer(way: str) -> None:
    """Worked out by hand: W A + b at each place, whose average is the logit."""
    conv = nn.Conv2d(12, 1 if way == "one logit" else CLASSES, 1)
    average, flat = pool()
    head = [average, conv, flat] if way == "after" else [conv, average, flat]
    classifier = convolutional(*head)
    end = find_linear_end(classifier)
    assert end is not None
    assert (end.features.layer, end.pooling) == ("3", "average")
    assert find_class_layer(classifier) == end.layer == ("5" if way == "after" else "4")
    images = noise(classifier)
    with torch.no_grad():
        at_each_place = torch.einsum(
            "ck,bkhw->bchw",
            conv.weight[:, :, 0, 0],
            classifier.network[:4](images),  # type: ignore[index]
        )
        logits = at_each_place.mean((2, 3)) + conv.bias
        if way == "one logit":
            at_each_place = at_each_place * torch.tensor([-0.5, 0.5])[:, None, None]
            logits = logits * torch.tensor([-0.5, 0.5])
        assert_close(make_explainer("cam", classifier)(images, "all").maps, at_each_place, 1e-5)
        assert_close(classifier.logits(images), logits, 1e-5)
        with scoring_in_the_last_layer(classifier):
            assert_close(classifier.logits(images), logits, 1e-5)


def test_maps_of_the_classes_are_the_cam() -> None:
    """A ReLU between the class maps and their average, as in SqueezeNet; or a wide kernel."""
    for head in ([nn.Conv2d(12, CLASSES, 1), nn.ReLU()], [nn.Conv2d(12, CLASSES, 3)]):
        classifier = convolutional(*head, *pool())
        end = find_linear_end(classifier)
        assert end is not None
        assert end.layer == ""
        images = noise(classifier)
        found = make_explainer("cam", classifier)(images, "all").maps
        with torch.no_grad():
            expected = classifier.network[: 4 + len(head)](images)  # type: ignore[index]
        assert_close(found, expected, 1e-6)
        assert_close(found.mean((2, 3)), classifier.logits(images), 1e-5)
        # A few-shot head has no rows of weights to look for.
        _, inputs = find_inputs(classifier, prior=True)
        assert inputs.pooled is None


@pytest.mark.parametrize("kernel", [{"kernel_size": 3}, {"kernel_size": 1, "stride": 2}])
def test_other_convolutions_are_no_linear_layer(kernel: dict[str, int]) -> None:
    assert find_class_layer(convolutional(nn.Conv2d(12, CLASSES, **kernel), *pool())) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "expected"), [(TINY["torchvision vit"], "class token"), (tiny_vgg, None)]
)
def test_a_head_that_starts_at_zero_is_not_mistaken(
    make: Callable[[], Classifier], expected: str | None
) -> None:
    """Its logits are the same for any features, which must not make all of them its input."""
    classifier = make()
    layer = find_class_layer(classifier)
    assert layer is not None
    nn.init.zeros_(linear_layer(classifier, layer).weight)
    nn.init.zeros_(linear_layer(classifier, layer).bias)
    end = find_linear_end(classifier)
    assert (None if end is None else end.pooling) == expected


def test_a_last_linear_layer_that_gives_no_classes_is_none() -> None:
    """Logits behind a linear layer of another width, here padded by a zero."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, CLASSES - 1), nn.ConstantPad1d((0, 1), 0.0),
    )  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["0"])
    assert find_class_layer(classifier) is None
    assert find_linear_end(classifier) is None


def test_a_linear_layer_that_is_called_by_keyword() -> None:
    class ByKeyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()
            )
            self.fc = nn.Linear(8, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.fc(input=self.features(images).mean(dim=(2, 3)))
            return logits

    end = find_linear_end(Classifier(ByKeyword(), preprocessing=Preprocessing.imagenet(16)))
    assert end is not None
    assert (end.layer, end.pooling) == ("fc", "average")


def test_the_layer_is_that_of_the_network_as_it_is_now() -> None:
    classifier = TINY["cnn"]()
    end = find_linear_end(classifier)
    assert end is not None
    other = copy.copy(classifier)
    other.network = copy.deepcopy(classifier.network)
    with torch.no_grad():
        linear_layer(other, end.layer).weight.zero_()
    assert not end.weights(other).any()
    assert end.weights(classifier).any()


def test_reading_weights_leaves_parametrisations_as_they_are() -> None:
    """Spectral norm of a network in train mode iterates whenever its weight is read."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, CLASSES)),
    ).train()  # fmt: skip
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
    before = classifier.fingerprint()
    end = find_linear_end(classifier)
    assert end is not None
    end.weights(classifier)
    assert classifier.fingerprint() == before


def test_weights_that_are_no_numbers_have_no_end() -> None:
    classifier = TINY["cnn"]()
    with torch.no_grad():
        next(classifier.network.parameters()).view(-1)[0] = torch.nan
    assert find_linear_end(classifier) is None


def test_half_precision_is_recognised_too() -> None:
    home = TINY["cnn"]()
    network = copy.deepcopy(home.network).bfloat16()
    end = find_linear_end(Classifier(network, preprocessing=home.preprocessing))
    assert end is not None and end.pooling == "average"
