"""The last grid that everything goes through, and what its places give, against slow formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close as assert_close_within
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.activation.last_grid import find_last_grid
from ttame.exporting.map_sources import exportable_methods, map_source
from ttame.images.preprocessing import Preprocessing

SIZE, WIDTH, CLASSES = 32, 8, 4
End = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Features on an 8x8 grid, and an end that turns them into scores."""

    def __init__(self, end: End) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1), nn.ReLU()
        )
        self.rows = nn.Parameter(torch.randn(CLASSES, WIDTH))
        self.first, self.second = nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)
        self.flat = nn.Linear(WIDTH * 64, CLASSES)
        self.norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.norm.weight)
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self, self.body(images))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert_close_within(actual, expected, 1e-5)


def average(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3))


def lengths(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1, keepdim=True).sqrt()


COSINES: dict[str, End] = {
    "linear layer": lambda net, a: 20 * F.linear(F.normalize(average(a)), F.normalize(net.rows)),
    "quotients": lambda net, a: (
        20 * (average(a) / average(a).norm(dim=1, keepdim=True)) @ (net.rows / lengths(net.rows)).T
    ),
    "by hand": lambda net, a: 20 * (average(a) / lengths(average(a))) @ F.normalize(net.rows).T,
    "cosine_similarity": lambda net, a: (
        20 * F.cosine_similarity(average(a)[:, None], net.rows[None], dim=2)
    ),
}


def classifier_of(end: End, **more: Any) -> Classifier:
    return Classifier(Net(end).eval(), Preprocessing.imagenet(SIZE), name="net", **more)


def noise(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("end", COSINES)
def test_cam_of_cosines_is_exact(end: str) -> None:
    """s (w/|w|)·A(x)/|ā|, whose average is the logit."""
    classifier = classifier_of(COSINES[end])
    network, images = classifier.network, noise()
    explanation = make_explainer("cam", classifier)(images, "all")
    features = network.body(images)
    expected = 20 * torch.einsum("kc,bcyx->bkyx", network.rows, features)
    expected = expected / network.rows.norm(dim=1)[:, None, None]
    expected = expected / average(features).norm(dim=1)[:, None, None, None]
    assert_close(explanation.maps, expected)
    assert_close(average(explanation.maps), explanation.logits)
    evidence = make_explainer("class_evidence", classifier, details=1.0)
    assert_close(evidence(images, "all").maps, expected)
    assert "evidence" not in evidence.options


def test_a_temperature_and_a_mean_of_heads_are_linear() -> None:
    def warm(net: Net, a: Tensor) -> Tensor:
        scores: Tensor = average(a) @ net.rows.T / net.norm.weight.abs().mean()
        return scores

    classifier = classifier_of(warm)
    network, images = classifier.network, noise()
    scaled = network.rows / network.norm.weight.abs().mean()
    maps = make_explainer("cam", classifier)(images, "all").maps
    assert_close(maps, torch.einsum("kc,bcyx->bkyx", scaled, network.body(images)))

    heads = classifier_of(
        lambda net, a: (net.second(net.first(average(a))) + average(a) @ net.rows.T) / 2
    )
    explanation = make_explainer("cam", heads)(images, "all")
    left = explanation.logits - explanation.maps.mean(dim=(2, 3))
    assert_close(left[0], left[1])  # the biases
    found = find_last_grid(heads)
    assert found is not None and found.exact and found.linear


def test_cosines_of_one_logit_explain_both_answers() -> None:
    classifier = classifier_of(
        lambda net, a: (F.normalize(average(a)) @ net.rows[0])[:, None], outputs="binary"
    )
    no, yes = make_explainer("cam", classifier)(noise(), "all").maps.unbind(dim=1)
    assert_close(no, -yes)


def curved(net: Net, a: Tensor) -> Tensor:
    """An activation behind the average."""
    scores: Tensor = net.second(F.silu(5 * net.first(average(a))))
    return scores


def flattened(net: Net, a: Tensor) -> Tensor:
    scores: Tensor = net.flat(a.flatten(1))
    return scores


def test_behind_an_activation_evidence_is_to_first_order_and_says_so() -> None:
    classifier = classifier_of(curved)
    network, images = classifier.network, noise()
    with pytest.raises(ExplainerError, match="cam is not defined"):
        make_explainer("cam", classifier)
    explain = make_explainer("class_evidence", classifier, details=1.0)
    assert explain.options["evidence"] == "to first order"
    maps = explain(images, [[1, 2], [1, 2]]).maps
    for image, of_image in zip(images, maps, strict=True):
        features = network.body(image[None]).detach()
        mean = average(features).requires_grad_()
        logits = network.second(F.silu(5 * network.first(mean)))
        for k, of_class in zip((1, 2), of_image, strict=True):
            (row,) = torch.autograd.grad(logits[0, k], mean, retain_graph=True)
            assert_close(of_class, torch.einsum("c,cyx->yx", row[0], features[0]))


def test_places_of_a_flattened_grid_have_weights_of_their_own() -> None:
    classifier = classifier_of(flattened)
    network, images = classifier.network, noise()
    found = find_last_grid(classifier)
    assert found is not None and found.exact and not found.linear
    maps = make_explainer("class_evidence", classifier, details=1.0)(images, "all").maps
    rows = network.flat.weight.view(CLASSES, WIDTH, 8, 8)
    assert_close(maps, 64 * torch.einsum("kcyx,bcyx->bkyx", rows, network.body(images)))
    assert_close(maps.mean(dim=(2, 3)) + network.flat.bias, network(images))


def test_a_norm_behind_the_average_counts_as_a_constant() -> None:
    """As where the norm stands before a linear layer: both ways give the same maps."""
    linear = classifier_of(lambda net, a: net.second(net.first(net.norm(average(a)))))
    network, images = linear.network, noise()
    maps = make_explainer("cam", linear)(images, "all").maps
    rows = network.second.weight @ network.first.weight
    features = network.body(images)
    centred = features - features.mean(dim=1, keepdim=True)
    deviation = (average(features).var(dim=1, correction=0) + network.norm.eps).sqrt()
    given = centred * network.norm.weight[:, None, None] / deviation[:, None, None, None]
    assert_close(maps, torch.einsum("kc,bcyx->bkyx", rows, given))


def test_what_goes_past_or_does_not_matter_is_no_end() -> None:
    class Past(Net):
        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = curved(self, self.body(images)) + images.mean(dim=(2, 3)).sum()
            return scores

    past = Classifier(Past(curved).eval(), Preprocessing.imagenet(SIZE))
    assert find_last_grid(past) is None
    with pytest.raises(ExplainerError, match="neither a grid of features in its second half"):
        make_explainer("class_evidence", past)
    nothing = classifier_of(curved)
    with torch.no_grad():
        nothing.network.second.weight.zero_()
    assert find_last_grid(nothing) is None


def test_evidence_from_gradients_is_not_exported() -> None:
    classifier = classifier_of(curved)
    assert not {"cam", "class_evidence"} & {*exportable_methods(classifier)}
    with pytest.raises(ExplainerError, match="gradients, since the logits of net are not linear"):
        map_source(make_explainer("class_evidence", classifier))
